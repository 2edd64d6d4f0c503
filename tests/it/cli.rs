//! The command line: help, versions, exit codes, and reports that say what to do.

use std::collections::HashMap;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::app::{TestApp, settings_for};
use crate::support::process::executable;

fn run(arguments: &[&str], settings: &HashMap<String, String>) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(executable()).args(arguments).env_clear().envs(settings).output().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn help_and_version_are_there_for_every_command() {
    let none = HashMap::new();
    assert_eq!(run(&["--version"], &none), (Some(0), format!("mediagenie {}\n", env!("CARGO_PKG_VERSION"))));
    for command in ["demo", "serve", "functions", "package", "doctor", "usage", "settings"] {
        let (code, text) = run(&[command, "--help"], &none);
        assert!(code == Some(0) && text.contains("Usage:"), "{command}: {text}");
    }
    assert_eq!(run(&["nonsense"], &none).0, Some(2));
    assert_eq!(run(&[], &none).0, Some(2));
}

#[test]
fn all_wrong_settings_are_reported_together_with_exit_code_2() {
    let wrong = [
        ("LISTEN_ADDRESS", "here"),
        ("PUBLIC_BASE_URL", "ftp://x"),
        ("MARKETPLACE_TENANT_ID", "x"),
        ("STORAGE", "floppy"),
    ];
    let settings = wrong.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (code, text) = run(&["serve"], &settings);
    assert_eq!(code, Some(2), "{text}");
    for name in [
        "LISTEN_ADDRESS",
        "PUBLIC_BASE_URL",
        "MARKETPLACE_TENANT_ID",
        "STORAGE",
        "MARKETPLACE_CLIENT_SECRET",
        "SIGN_IN_CLIENT_ID",
    ] {
        assert!(text.contains(name), "{name} is missing in: {text}");
    }
    let (code, text) = run(&["functions"], &[("MARKETPLACE_MODE".to_owned(), "false".to_owned())].into());
    assert!(code == Some(2) && text.contains("func start"), "{text}");
    // Nobody would poll an embedded queue there.
    let embedded = [("MARKETPLACE_MODE", "false"), ("FUNCTIONS_CUSTOMHANDLER_PORT", "1"), ("DATA_DIR", "/nonexistent")];
    let (code, text) = run(&["functions"], &embedded.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(code == Some(2) && text.contains("STORAGE=azure"), "{text}");
}

#[test]
fn a_store_that_can_not_be_used_is_explained() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let settings = |path: &std::path::Path| -> HashMap<String, String> {
        [("MARKETPLACE_MODE", "false"), ("LISTEN_ADDRESS", "127.0.0.1:0"), ("DATA_DIR", path.to_str().unwrap())]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into()
    };
    let (code, text) = run(&["serve"], &settings(&file));
    assert!(code == Some(1) && text.contains("can not be used"), "{text}");
    let (code, text) = run(&["serve"], &settings(std::path::Path::new("/proc/none")));
    assert!(code == Some(1) && text.contains("can not be used"), "a file system that takes no writes: {text}");
    let database = folder.path().join("data");
    std::fs::create_dir(&database).unwrap();
    std::fs::write(database.join("mediagenie.db"), vec![7; 9000]).unwrap();
    let (code, text) = run(&["serve"], &settings(&database));
    assert!(code == Some(1) && text.contains("damaged") && text.contains("restore it from a backup"), "{text}");
}

#[tokio::test]
async fn doctor_checks_everything_and_says_what_to_do() {
    let app = TestApp::start().await;
    let folder = TempDir::new().unwrap();
    let mut settings = settings_for(&app.simulator, &app.address);
    settings.insert("DATA_DIR".into(), folder.path().to_str().unwrap().into());
    let doctor = async |settings: HashMap<String, String>| {
        tokio::task::spawn_blocking(move || run(&["doctor"], &settings)).await.unwrap()
    };
    let (code, text) = doctor(settings.clone()).await;
    assert_eq!(code, Some(0), "{text}");
    for line in ["store", "queue", "sign_in_keys", "marketplace_token", "marketplace_api", "/marketplace/webhook"] {
        assert!(text.contains(line), "{line} is missing in: {text}");
    }
    settings.insert("MARKETPLACE_CLIENT_SECRET".into(), "wrong".into());
    let (code, text) = doctor(settings.clone()).await;
    assert!(code == Some(1) && text.contains("check MARKETPLACE_CLIENT_SECRET"), "{text}");
    assert!(!text.contains("\"wrong\""), "secrets do not show");
}

#[test]
fn the_package_has_what_the_functions_host_wants() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("package");
    for _ in 0..2 {
        let (code, text) = run(&["package", target.to_str().unwrap()], &HashMap::new());
        assert_eq!(code, Some(0), "{text}");
    }
    let host: serde_json::Value = serde_json::from_slice(&std::fs::read(target.join("host.json")).unwrap()).unwrap();
    let name = host["customHandler"]["description"]["defaultExecutablePath"].as_str().unwrap();
    assert_eq!(std::fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(
        (
            &host["version"],
            &host["customHandler"]["enableProxyingHttpRequest"],
            &host["extensions"]["http"]["routePrefix"]
        ),
        (&"2.0".into(), &true.into(), &"".into())
    );
    let folders = std::fs::read_dir(&target)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().join("function.json").exists())
        .count();
    assert_eq!(folders, mediagenie::functions::TABLE.len());
    let (code, text) = run(&["package", folder.path().to_str().unwrap()], &HashMap::new());
    assert!(code == Some(1) && text.contains("not empty"), "{text}");
}

#[tokio::test]
async fn usage_is_exported_for_an_exact_range_beside_the_running_server() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    for hour in 0..3 {
        app.use_up(id, &format!("=r{hour}"), "speech_minutes", "1001.5").await;
        app.clock.advance(jiff::SignedDuration::from_mins(65));
        app.fire("SubmitUsage").await;
    }
    let mut settings = settings_for(&app.simulator, &app.address);
    settings.insert("DATA_DIR".into(), app.folder.path().to_str().unwrap().into());
    let (code, text) =
        run(&["usage", "export", "--from", "2026-03-02T10:00:00Z", "--to", "2026-03-02T11:00:00Z"], &settings);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("accepted_at,resource,id,counter,quantity,"), "{text}");
    assert!(lines[1].contains(&format!(",{id},'=r1,dimension:speech_minutes,1001.5,")), "{text}");
    assert_eq!(lines[2], "1 lines, from 2026-03-02T10:00:00Z to before 2026-03-02T11:00:00Z");
    let (_, text) =
        run(&["usage", "export", "--what", "events", "--from", "2026-03-02", "--to", "2026-03-03"], &settings);
    let quantities: Vec<_> = text.lines().skip(1).filter_map(|line| line.split(',').nth(4)).collect();
    assert_eq!(quantities, ["1.5", "1001.5", "1001.5"], "{text}");
    assert_eq!(run(&["usage", "export", "--from", "2026-03-02", "--to", "2026-03-02"], &settings).0, Some(2));
    assert_eq!(run(&["usage", "export", "--from", "March", "--to", "2026-03-02"], &settings).0, Some(2));
    settings.insert("DATA_DIR".into(), "/nowhere".into());
    let (code, text) = run(&["usage", "export", "--from", "2026-03-01", "--to", "2026-03-02"], &settings);
    assert!(code == Some(1) && text.contains("/nowhere can not be used"), "{text}");
}
