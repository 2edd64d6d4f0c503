//! The embedded database file: SQLite in WAL mode with full synchronisation, one writing thread that commits whole
//! groups, a few reading threads, and a lock file so that only one server owns it. Rows, messages and blob names of
//! the embedded backends live in it together.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::StoreError;

/// Reads go on while a group is being committed; two threads match the small machines this backend is for.
const READERS: usize = 2;
/// The most writes that share one commit.
const GROUP: usize = 256;
/// While writers come in crowds, the next group is gathered for this long: fewer commits, each for more.
const GATHER: Duration = Duration::from_micros(150);
/// The log is folded into the file by a thread of its own, this often while there is something to fold, so that no
/// writer waits for it. Only a log of this many pages (64 MiB) makes the writing thread do it itself.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);
const LONGEST_LOG: i64 = 16_000;
/// How long the start waits for others who read, and how long anything else waits for a lock.
const FOLDING_WAIT: Duration = Duration::from_millis(200);
/// How long emptying the log may wait for those who read and write.
const EMPTYING_WAIT: Duration = Duration::from_secs(10);
const BUSY_WAIT: Duration = Duration::from_secs(5);
const CACHE_KIB: i64 = 8 * 1024;
/// How many ETags one start reserves; numbers never come twice, also after a crash.
const ETAG_BLOCK: i64 = 1 << 40;

/// Bodies are appended in the order of their writing, and only the small index is in the order of the random keys: a
/// commit then touches few pages.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entities(
    id INTEGER PRIMARY KEY, tbl TEXT NOT NULL, part TEXT NOT NULL, key TEXT NOT NULL, etag INTEGER NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS entities_by_key ON entities(tbl, part, key);
CREATE TABLE IF NOT EXISTS messages(
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, body TEXT NOT NULL, inserted INTEGER NOT NULL,
    visible INTEGER NOT NULL, dequeued INTEGER NOT NULL, receipt INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages(queue, visible);
CREATE TABLE IF NOT EXISTS blobs(
    container TEXT NOT NULL, name TEXT NOT NULL, etag INTEGER NOT NULL, length INTEGER NOT NULL,
    content_type TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY(container, name)) WITHOUT ROWID;
";

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the folder {0} can not be used; check that it exists and may be written")]
    Folder(PathBuf, #[source] std::io::Error),
    #[error("{0} is in use by another MediaGenie server; stop that one, or give this one another DATA_DIR")]
    Locked(PathBuf),
    #[error("{0} is damaged ({1}); restore it from a backup, or move it away to start empty")]
    Damaged(PathBuf, String),
    #[error("{0} can not be opened")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
}

type Reader = Box<dyn FnOnce(&Connection) + Send>;
/// Runs inside the group's transaction and hands back what to do once its commit is known. `Err` undoes this job only.
type Work = Box<dyn FnOnce(&Connection) -> Result<Completion, Completion> + Send>;
type Completion = Box<dyn FnOnce(Result<(), &str>) + Send>;

struct Writer {
    work: Work,
    /// It changes by one statement only, which SQLite undoes by itself; a savepoint would double its cost.
    single: bool,
}

/// A handle; clones share the same threads. The file is closed when the last clone goes.
#[derive(Clone)]
pub struct Database {
    writer: Sender<Writer>,
    reader: Sender<Reader>,
    etags: Arc<AtomicI64>,
    folder: PathBuf,
    _lock: Arc<File>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the file in `folder` for reading only, beside the server that owns it. Every write is refused.
    pub fn open_beside(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("mediagenie.db");
        if !path.exists() {
            let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "it holds no mediagenie.db");
            return Err(OpenError::Folder(folder.to_owned(), missing));
        }
        let lock = File::open(&path).map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        Ok(Self {
            // Nobody listens at the other end.
            writer: channel().0,
            reader: readers(&path)?,
            etags: Arc::default(),
            folder: folder.to_owned(),
            _lock: Arc::new(lock),
        })
    }

    /// Opens or creates the file in `folder` and takes its lock.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("mediagenie.lock"))
            .map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(OpenError::Folder(folder.to_owned(), error)),
        }
        let path = folder.join("mediagenie.db");
        let connection = open_writer(&path)?;
        let first: i64 = connection
            .query_row(
                "INSERT INTO meta VALUES('etag', ?1) ON CONFLICT(name) DO UPDATE SET value = value + ?1 RETURNING value",
                [ETAG_BLOCK],
                |row| row.get(0),
            )
            .map_err(|error| damaged_or(&path, error))?;
        let (writer, writes) = channel();
        let (committed, commits) = channel();
        std::thread::spawn(move || write_loop(connection, &writes, &committed));
        let folding = Connection::open(&path).map_err(|error| OpenError::Sqlite(path.clone(), error))?;
        std::thread::spawn(move || checkpoint_loop(&folding, &commits));
        Ok(Self {
            writer,
            reader: readers(&path)?,
            etags: Arc::new(AtomicI64::new(first)),
            folder: folder.to_owned(),
            _lock: Arc::new(lock),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A number that was never an ETag or receipt before.
    pub fn next_etag(&self) -> i64 {
        self.etags.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `job` on a reading thread; it sees all writes that were answered before.
    pub async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Reader = Box::new(move |connection| {
            // The caller may have gone away; nobody misses the answer then.
            let _ = answer.send(job(connection).map_err(sqlite_error));
        });
        self.reader.send(job).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Runs `job` in the next group and answers when the group is on disk. An error of `job` undoes its own writes.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.submit(false, job).await
    }

    /// The same for a job with one changing statement.
    pub async fn write_single<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.submit(true, job).await
    }

    async fn submit<T, E, F>(&self, single: bool, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let result = job(connection);
            let failed = result.is_err();
            let completion: Completion = Box::new(move |committed| {
                let result = match committed {
                    Ok(()) => result,
                    Err(message) => Err(StoreError::unavailable(message).into()),
                };
                let _ = answer.send(result);
            });
            if failed { Err(completion) } else { Ok(completion) }
        });
        self.writer.send(Writer { work, single }).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Database {
    /// Folds the whole log into the file and empties it, so that it holds no older versions of anything.
    pub async fn fold(&self) -> Result<(), StoreError> {
        let path = self.folder.join("mediagenie.db");
        let folded = tokio::task::spawn_blocking(move || -> rusqlite::Result<bool> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(EMPTYING_WAIT)?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        });
        match folded.await.map_err(|error| StoreError::unavailable(error.to_string()))?? {
            false => Ok(()),
            true => Err(StoreError::unavailable("the log is in use and could not be emptied yet")),
        }
    }
}

/// Starts the reading threads.
fn readers(path: &Path) -> Result<Sender<Reader>, OpenError> {
    let (reader, reads) = channel();
    let reads = Arc::new(Mutex::new(reads));
    for _ in 0..READERS {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| OpenError::Sqlite(path.to_owned(), error))?;
        tune(&connection).map_err(|error| OpenError::Sqlite(path.to_owned(), error))?;
        let reads = Arc::clone(&reads);
        std::thread::spawn(move || read_loop(&connection, &reads));
    }
    Ok(reader)
}

fn stopped() -> StoreError {
    StoreError::unavailable("the embedded store has stopped")
}

/// A failure of SQLite in the middle of work: full or read-only disks pass, so all of them count as passing trouble.
pub fn sqlite_error(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable { message: error.to_string(), source: Some(Box::new(error)) }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        sqlite_error(error)
    }
}

fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open(path).map_err(|error| OpenError::Sqlite(path.to_owned(), error))?;
    let prepare = || -> rusqlite::Result<Option<i64>> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // What is deleted or overwritten is gone from the file, too: a person can ask for that.
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "wal_autocheckpoint", LONGEST_LOG)?;
        tune(&connection)?;
        connection.execute_batch(SCHEMA)?;
        // With the log folded in, the file must hold as many pages as its header says: a file cut short is found
        // now and not at the first unlucky read. While somebody else reads, the log can not be folded in, and nothing
        // is to be learned from the length.
        connection.busy_timeout(FOLDING_WAIT)?;
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        connection.busy_timeout(BUSY_WAIT)?;
        if busy {
            return Ok(None);
        }
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let size: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok(Some(pages * size))
    };
    let Some(whole) = prepare().map_err(|error| damaged_or(path, error))? else { return Ok(connection) };
    let length = std::fs::metadata(path).map_err(|error| OpenError::Folder(path.to_owned(), error))?.len();
    if i64::try_from(length).unwrap_or(i64::MAX) < whole {
        let found = format!("{length} bytes where its header says {whole}");
        return Err(OpenError::Damaged(path.to_owned(), found));
    }
    Ok(connection)
}

/// More memory for pages than SQLite's default: keys are GUIDs, so neighbouring writes touch distant pages.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)
}

fn damaged_or(path: &Path, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            OpenError::Damaged(path.to_owned(), error.to_string())
        }
        _ => OpenError::Sqlite(path.to_owned(), error),
    }
}

fn read_loop(connection: &Connection, jobs: &Mutex<Receiver<Reader>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(connection),
            Err(_) => return,
        }
    }
}

/// Folds the log into the file behind the writer's back, without ever holding it up, until the writer ends.
fn checkpoint_loop(connection: &Connection, commits: &Receiver<()>) {
    while commits.recv().is_ok() {
        std::thread::sleep(CHECKPOINT_EVERY);
        while commits.try_recv().is_ok() {}
        // What can not be folded now (a full disk, say) is tried again after the next commit.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}

fn write_loop(connection: Connection, jobs: &Receiver<Writer>, committed: &Sender<()>) {
    let mut crowded = false;
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        if crowded {
            std::thread::sleep(GATHER);
        }
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        crowded = group.len() > 2;
        commit_group(&connection, group);
        // The other end lives as long as this one.
        let _ = committed.send(());
    }
}

/// One transaction for the whole group; a savepoint per job, so that one job's refusal does not undo its neighbours.
fn commit_group(connection: &Connection, group: Vec<Writer>) {
    let mut completions = Vec::with_capacity(group.len());
    let mut outcome = run(connection, "BEGIN IMMEDIATE");
    for Writer { work, single } in group {
        if outcome.is_err() {
            // The transaction never began or is broken: run nothing, but answer everybody.
            completions.push(Box::new(|_: Result<(), &str>| drop(work)) as Completion);
            continue;
        }
        let guarded = if single { Ok(()) } else { run(connection, "SAVEPOINT job") };
        outcome = match guarded.map(|()| work(connection)) {
            Err(error) => Err(error),
            Ok(Ok(completion)) => {
                completions.push(completion);
                if single { Ok(()) } else { run(connection, "RELEASE job") }
            }
            Ok(Err(completion)) => {
                completions.push(completion);
                if single { Ok(()) } else { connection.execute_batch("ROLLBACK TO job; RELEASE job") }
            }
        };
    }
    let outcome = outcome.and_then(|()| run(connection, "COMMIT"));
    let message = outcome.as_ref().err().map(ToString::to_string);
    if let Some(message) = &message {
        tracing::error!(error = %message, "the embedded store could not commit");
        // Nothing to do when there is no transaction to roll back.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for completion in completions {
        completion(message.as_deref().map_or(Ok(()), Err));
    }
}

/// A statement without parameters or rows, prepared once.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_somebody_still_reads_is_not_taken_for_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let insert = |number: i64| {
            move |connection: &Connection| -> Result<(), StoreError> {
                let body = "x".repeat(20_000);
                let sql = "INSERT INTO entities(tbl, part, key, etag, body) VALUES('T', 'p', ?1, 1, ?2)";
                connection.execute(sql, rusqlite::params![number.to_string(), body]).map(drop).map_err(Into::into)
            }
        };
        let database = Database::open(folder.path()).unwrap();
        database.write(insert(1)).await.unwrap();
        // Somebody who reads an old state keeps the log from being folded in.
        let beside = Connection::open(folder.path().join("mediagenie.db")).unwrap();
        beside.execute_batch("BEGIN; SELECT COUNT(*) FROM entities;").unwrap();
        for number in 2..50 {
            database.write(insert(number)).await.unwrap();
        }
        drop(database);
        let opened = loop {
            match Database::open(folder.path()) {
                Err(OpenError::Locked(_)) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        let opened = opened.unwrap();
        let count =
            |connection: &Connection| connection.query_row("SELECT COUNT(*) FROM entities", [], |row| row.get(0));
        let count: i64 = opened.read(count).await.unwrap();
        assert_eq!(count, 49);
    }
}
