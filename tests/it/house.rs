//! The house keeps its own rules: directions of dependency, generated documents, the settings table.

use std::path::{Path, PathBuf};

use mediagenie::foundation::settings::table;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All `crate::x::...` of a file, without its tests.
fn uses(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let name =
        |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect::<String>();
    let expand = |rest: &str| match rest.strip_prefix('{') {
        Some(group) => group
            .split('}')
            .next()
            .unwrap()
            .split(',')
            .map(|part| name(part.trim()))
            .filter(|part| !part.is_empty())
            .collect(),
        None => vec![name(rest)],
    };
    code.split("crate::").skip(1).flat_map(expand).collect()
}

#[test]
fn rooms_import_only_in_the_directions_of_the_design() {
    // What each room may name; `app` is the struct that handlers and services are given.
    let allowed: &[(&str, &[&str])] = &[
        ("foundation", &["foundation"]),
        ("store", &["store", "foundation"]),
        ("queue", &["queue", "store", "foundation"]),
        ("blobs", &["blobs", "store", "foundation"]),
        ("identity", &["identity", "app", "store", "foundation"]),
        ("callbacks", &["callbacks", "app", "store", "queue", "foundation"]),
        ("fulfillment", &["fulfillment", "callbacks", "identity", "app", "store", "queue", "foundation"]),
        ("metering", &["metering", "callbacks", "fulfillment", "identity", "app", "store", "foundation"]),
        ("managed_apps", &["managed_apps", "callbacks", "metering", "identity", "app", "store", "queue", "foundation"]),
        ("leads", &["leads", "callbacks", "fulfillment", "identity", "app", "store", "queue", "foundation"]),
        (
            "privacy",
            &[
                "privacy",
                "leads",
                "managed_apps",
                "callbacks",
                "fulfillment",
                "identity",
                "app",
                "store",
                "queue",
                "foundation",
            ],
        ),
        (
            "analytics",
            &[
                "analytics",
                "leads",
                "managed_apps",
                "metering",
                "fulfillment",
                "identity",
                "app",
                "store",
                "blobs",
                "queue",
                "foundation",
            ],
        ),
        ("ai", &["ai", "metering", "fulfillment", "identity", "app", "store", "foundation"]),
        (
            "media",
            &["media", "callbacks", "ai", "metering", "identity", "app", "store", "blobs", "queue", "foundation"],
        ),
        (
            "customers",
            &[
                "customers",
                "leads",
                "managed_apps",
                "media",
                "metering",
                "fulfillment",
                "identity",
                "app",
                "foundation",
            ],
        ),
        ("pages", &["pages", "identity", "app", "foundation"]),
        (
            "portal",
            &[
                "portal",
                "callbacks",
                "media",
                "ai",
                "pages",
                "metering",
                "fulfillment",
                "identity",
                "app",
                "foundation",
            ],
        ),
        (
            "staff",
            &[
                "staff",
                "analytics",
                "callbacks",
                "customers",
                "managed_apps",
                "leads",
                "privacy",
                "media",
                "analytics",
                "ai",
                "portal",
                "pages",
                "queue",
                "metering",
                "fulfillment",
                "identity",
                "app",
                "foundation",
            ],
        ),
        ("health", &["metering", "fulfillment", "app", "foundation"]),
        ("simulator", &["simulator", "foundation"]),
        ("host", &["host", "functions", "leads", "identity", "pages", "app", "store", "queue", "foundation"]),
        (
            "functions",
            &[
                "ai",
                "analytics",
                "callbacks",
                "customers",
                "managed_apps",
                "leads",
                "privacy",
                "media",
                "metering",
                "fulfillment",
                "health",
                "identity",
                "pages",
                "portal",
                "staff",
                "app",
                "foundation",
            ],
        ),
        ("cli", &["cli", "ai", "analytics", "host", "health", "metering", "simulator", "app", "store", "foundation"]),
    ];
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files {
        let relative = file.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let room = relative.split(['/', '.']).next().unwrap().to_owned();
        let Some((_, may)) = allowed.iter().find(|(name, _)| *name == room) else {
            assert!(["lib", "main", "app"].contains(&room.as_str()), "src/{relative} is in no room of the design");
            continue;
        };
        for used in uses(&file) {
            let target = used.split("::").next().unwrap();
            assert!(may.contains(&target), "src/{relative} names crate::{used}, which its room may not");
            let pure = relative.contains("/model");
            assert!(
                !pure || !used.starts_with("app") && !used.starts_with("store") && !used.starts_with("queue"),
                "src/{relative} is pure, but names crate::{used}"
            );
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let concrete = ["EmbeddedRows", "AzureRows", "EmbeddedQueues", "AzureQueues", "EmbeddedBlobs", "AzureBlobs"];
        if !["store", "queue", "blobs"].contains(&room.as_str()) {
            assert!(
                !concrete.iter().any(|name| text.contains(name)),
                "src/{relative} names a concrete backend; only app.rs may"
            );
        }
    }
}

#[test]
fn files_stay_small_and_say_what_they_are() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.lines().count() <= 600, "{}: what does it want to become?", file.display());
        assert!(text.starts_with("//!"), "{} does not say what it owns", file.display());
    }
}

#[test]
fn generated_documents_are_current() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap_or_default();
    assert_eq!(
        read("docs/SETTINGS.md").trim(),
        table::markdown().trim(),
        "run: cargo run -- settings --markdown > docs/SETTINGS.md"
    );
    assert_eq!(
        read("local.settings.sample.json").trim(),
        table::local_settings_sample().trim(),
        "run: cargo run -- settings --sample > local.settings.sample.json"
    );
}

#[test]
fn every_setting_is_read_and_every_one_read_is_in_the_table() {
    let reader = std::fs::read_to_string(root().join("src/foundation/settings/read.rs")).unwrap();
    let code = reader.split("#[cfg(test)]").next().unwrap();
    for setting in table::all() {
        assert!(code.contains(&format!("\"{}\"", setting.name)), "{} is read nowhere", setting.name);
    }
    let names = code.split('"').skip(1).step_by(2).filter(|text| {
        text.len() > 5 && text.chars().all(|c| c.is_ascii_uppercase() || matches!(c, '_')) && text.contains('_')
    });
    for name in names {
        assert!(table::all().any(|setting| setting.name == name), "{name} is not in the table");
    }
}
