//! The file of an execution: CSV or TSV as Microsoft writes them, and with the faults that the execution was given.

use std::io;
use std::ops::ControlFlow;

use super::cell::Cell;
use super::faults::ExecutionFault as Fault;
use super::spool::Spool;
use super::view::Bound;
use super::world::{Between, World};

const PAGE: &str = "<!DOCTYPE html>\r\n<html><head><title>Service Unavailable</title></head>\
<body><h2>Our services aren't available right now</h2><p>We're working to restore all services as soon as possible. \
Please check back soon.</p></body></html>\r\n";

/// So many bytes are gathered before they are written.
const PIECE: usize = 1 << 16;

/// What a file is made of.
pub struct Order<'a> {
    pub bound: &'a Bound,
    pub range: Between,
    pub tabs: bool,
    pub faults: &'a [Fault],
}

/// Where each column of the file comes from: a place in the selection, or one that nobody asked for.
type Columns = Vec<(String, Option<usize>)>;

fn columns(order: &Order<'_>) -> Columns {
    let mut columns: Columns =
        order.bound.columns.iter().enumerate().map(|(place, column)| (column.name.clone(), Some(place))).collect();
    for fault in order.faults {
        match fault {
            Fault::RemovedColumn(gone) => columns.retain(|(name, _)| !name.eq_ignore_ascii_case(gone)),
            Fault::RenamedColumn(from, to) => {
                let renamed = columns.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(from));
                renamed.into_iter().for_each(|(name, _)| name.clone_from(to));
            }
            Fault::AddedColumn(new) => columns.insert(0, (new.clone(), None)),
            _ => {}
        }
    }
    for (name, _) in &mut columns {
        if order.faults.contains(&Fault::LowerHeader) {
            name.make_ascii_lowercase();
        } else if order.faults.contains(&Fault::UpperHeader) {
            name.make_ascii_uppercase();
        }
    }
    columns
}

pub fn write(order: &Order<'_>, world: &World) -> io::Result<Spool> {
    let has = |fault: &Fault| order.faults.contains(fault);
    let mut spool = Spool::default();
    if has(&Fault::Empty) {
        return Ok(spool);
    }
    if has(&Fault::Html) {
        spool.write(PAGE.as_bytes())?;
        return Ok(spool);
    }
    let columns = columns(order);
    let tab = order.tabs || has(&Fault::Tsv);
    let (crlf, mixed) = (has(&Fault::Crlf), has(&Fault::MixedLineEnds));
    let mut lines = 0_usize;
    let mut end = |text: &mut String| {
        lines += 1;
        text.push_str(if crlf || (mixed && lines.is_multiple_of(2)) { "\r\n" } else { "\n" });
    };
    let mut text = String::with_capacity(2 * PIECE);
    if has(&Fault::Bom) {
        text.push('\u{feff}');
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    text.push_str(&names.join(if tab { "\t" } else { "," }));
    end(&mut text);
    let mut trouble = None;
    if !has(&Fault::HeaderOnly) {
        order.bound.answer(world, order.range, |row| {
            for (place, (_, from)) in columns.iter().enumerate() {
                if place > 0 {
                    text.push(if tab { '\t' } else { ',' });
                }
                let cell = from.map_or(Some(&Cell::Word("new")), |from| row.get(from));
                cell.into_iter().for_each(|cell| cell.quoted(&mut text));
            }
            end(&mut text);
            if text.len() < PIECE {
                return ControlFlow::Continue(());
            }
            let written = spool.write(text.as_bytes());
            text.clear();
            written.map_or_else(
                |error| {
                    trouble = Some(error);
                    ControlFlow::Break(())
                },
                ControlFlow::Continue,
            )
        });
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    spool.write(text.as_bytes())?;
    let mut spool = spool.finish()?;
    if has(&Fault::Truncated) {
        truncate(&mut spool)?;
    }
    Ok(spool)
}

/// Two thirds are left, and never a whole last row.
fn truncate(spool: &mut Spool) -> io::Result<()> {
    let mut len = spool.len() * 2 / 3;
    while len > 1 && spool.read(len - 1, 2)?.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        len -= 1;
    }
    spool.cut(len);
    Ok(())
}
