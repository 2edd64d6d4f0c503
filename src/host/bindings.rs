//! Reads the embedded `functions/*/function.json` (functions-host contract 4) and joins them with the function table.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use http::Method;
use once_cell::sync::OnceCell;
use percent_encoding::percent_decode_str;
use rust_embed::RustEmbed;
use serde::Deserialize;

use crate::functions::{Handler, TABLE};

#[derive(RustEmbed)]
#[folder = "functions/"]
#[include = "*/function.json"]
pub struct Folders;

#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    #[error("functions/{0}/function.json can not be read: {1}")]
    Unreadable(String, String),
    #[error("functions/{0} has no line in the function table")]
    NoHandler(String),
    #[error("the function table names {0}, but there is no such folder")]
    NoFolder(&'static str),
    #[error("functions/{0}: its trigger and its handler are of different kinds")]
    WrongKind(String),
    #[error("functions/{0}: the route clashes with another one ({1})")]
    Route(String, String),
}

/// What sets a function off.
#[derive(Debug, Clone)]
pub enum Trigger {
    Http { route: String, methods: Vec<Method> },
    Queue { queue: String },
    Timer { schedule: Box<Cron> },
}

#[derive(Clone)]
pub struct Function {
    pub name: String,
    /// The name under which an envelope carries the trigger's data.
    pub binding: String,
    pub trigger: Trigger,
    pub handler: Handler,
}

impl Function {
    pub fn is_http(&self) -> bool {
        matches!(self.trigger, Trigger::Http { .. })
    }
}

/// All functions, by name and by route.
pub struct Functions {
    all: Vec<Function>,
    router: matchit::Router<HashMap<Method, usize>>,
}

/// What a path leads to.
pub enum Route<'a> {
    Function(&'a Function, HashMap<String, String>),
    /// The path exists, with these methods.
    WrongMethod(Vec<Method>),
    Nothing,
}

#[derive(Deserialize)]
struct File {
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    route: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
    queue_name: Option<String>,
    schedule: Option<String>,
}

/// What is embedded can not change while the process lives.
static LOADED: OnceCell<Arc<Functions>> = OnceCell::new();

impl Functions {
    /// All embedded functions, read once in a process.
    pub fn load() -> Result<Arc<Self>, BindingError> {
        LOADED.get_or_try_init(|| Self::read().map(Arc::new)).cloned()
    }

    fn read() -> Result<Self, BindingError> {
        let mut all = Vec::new();
        for path in Folders::iter() {
            let Some((name, _)) = path.split_once('/') else { continue };
            let data = Folders::get(&path).map(|file| file.data).unwrap_or_default();
            all.push(read_function(name, &data)?);
        }
        for (name, _) in TABLE {
            if !all.iter().any(|function| function.name == *name) {
                return Err(BindingError::NoFolder(name));
            }
        }
        // The host tries routes in the order of the functions' names.
        all.sort_by_key(|function| function.name.to_ascii_lowercase());
        let router = router(&all)?;
        Ok(Self { all, router })
    }

    pub fn all(&self) -> &[Function] {
        &self.all
    }

    pub fn by_name(&self, name: &str) -> Option<&Function> {
        self.all.iter().find(|function| function.name == name)
    }

    /// Finds the function for a request. Letter case and one trailing slash are ignored, as the Functions host does.
    pub fn route(&self, method: &Method, path: &str) -> Route<'_> {
        let trimmed = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
        let lower = trimmed.to_ascii_lowercase();
        let Ok(found) = self.router.at(&lower) else { return Route::Nothing };
        let Some(index) = found.value.get(method) else {
            return Route::WrongMethod(found.value.keys().cloned().collect());
        };
        let params = found.params.iter().map(|(name, value)| {
            // The value stands in the lowered path; the same bytes of the given one keep their letter case.
            let start = value.as_ptr().addr() - lower.as_ptr().addr();
            let given = trimmed.get(start..start + value.len()).unwrap_or(value);
            (name.to_owned(), percent_decode_str(given).decode_utf8_lossy().into_owned())
        });
        Route::Function(&self.all[*index], params.collect())
    }
}

fn read_function(name: &str, data: &[u8]) -> Result<Function, BindingError> {
    let unreadable = |what: String| BindingError::Unreadable(name.to_owned(), what);
    let file: File = serde_json::from_slice(data).map_err(|error| unreadable(error.to_string()))?;
    let binding = file
        .bindings
        .into_iter()
        .find(|binding| binding.kind.ends_with("Trigger"))
        .ok_or_else(|| unreadable("no trigger".into()))?;
    let trigger = match binding.kind.as_str() {
        "httpTrigger" => {
            let route = binding.route.unwrap_or_else(|| name.to_owned());
            let methods = binding
                .methods
                .iter()
                .map(|method| Method::from_str(&method.to_ascii_uppercase()))
                .collect::<Result<_, _>>();
            Trigger::Http {
                route: format!("/{}", route.trim_matches('/')),
                methods: methods.map_err(|error| unreadable(error.to_string()))?,
            }
        }
        "queueTrigger" => {
            Trigger::Queue { queue: binding.queue_name.ok_or_else(|| unreadable("no queueName".into()))? }
        }
        "timerTrigger" => {
            Trigger::Timer { schedule: Box::new(schedule(&binding.schedule.unwrap_or_default()).map_err(unreadable)?) }
        }
        other => return Err(unreadable(format!("unknown trigger {other}"))),
    };
    let handler = TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, handler)| *handler)
        .ok_or_else(|| BindingError::NoHandler(name.into()))?;
    let fits = match (&trigger, &handler) {
        (Trigger::Queue { .. }, Handler::Queue(_)) | (Trigger::Timer { .. }, Handler::Timer(_)) => true,
        (Trigger::Http { .. }, Handler::Queue(_) | Handler::Timer(_)) => false,
        (Trigger::Http { .. }, _) => true,
        _ => false,
    };
    if !fits {
        return Err(BindingError::WrongKind(name.to_owned()));
    }
    Ok(Function { name: name.to_owned(), binding: binding.name, trigger, handler })
}

/// NCRONTAB with seconds: `0 17 * * * *`.
fn schedule(text: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .build()
        .parse(text)
        .map_err(|error| format!("schedule `{text}`: {error}"))
}

fn router(all: &[Function]) -> Result<matchit::Router<HashMap<Method, usize>>, BindingError> {
    let mut routes: Vec<(String, HashMap<Method, usize>)> = Vec::new();
    for (index, function) in all.iter().enumerate() {
        let Trigger::Http { route, methods } = &function.trigger else { continue };
        // The host's `{*rest}` matches nothing, too; the router's wants at least one character.
        let bare = route.rsplit_once("/{*").map(|(before, _)| before.to_owned());
        for route in [Some(route.clone()), bare].into_iter().flatten() {
            let at = match routes.iter().position(|(known, _)| *known == route) {
                Some(at) => at,
                None => {
                    routes.push((route.clone(), HashMap::new()));
                    routes.len() - 1
                }
            };
            for method in methods {
                if routes[at].1.insert(method.clone(), index).is_some() {
                    return Err(BindingError::Route(function.name.clone(), format!("{method} {route} is taken")));
                }
            }
        }
    }
    let mut router = matchit::Router::new();
    for (route, methods) in routes {
        let name = methods.values().next().map(|index| all[*index].name.clone()).unwrap_or_default();
        router.insert(route, methods).map_err(|error| BindingError::Route(name, error.to_string()))?;
    }
    Ok(router)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_has_a_line_and_every_line_a_folder() {
        let functions = Functions::load().unwrap();
        assert_eq!(functions.all().len(), TABLE.len());
    }

    #[test]
    fn http_functions_are_as_the_host_wants_them() {
        for path in Folders::iter() {
            let file = Folders::get(&path).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&file.data).unwrap();
            let bindings = json["bindings"].as_array().unwrap();
            let name = path.split('/').next().unwrap();
            assert!(
                name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.chars().all(|c| c.is_ascii_alphanumeric())
                    && name != "host",
                "{name}"
            );
            for binding in bindings {
                assert!(binding["name"].as_str().unwrap().chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
            }
            if bindings[0]["type"] == "httpTrigger" {
                assert_eq!(bindings.len(), 2, "{name} has exactly its trigger and its output");
                assert_eq!(
                    (&bindings[1]["type"], &bindings[1]["direction"]),
                    (&"http".into(), &"out".into()),
                    "{name}"
                );
                assert_eq!(bindings[0]["authLevel"], "anonymous", "{name}: authorisation is ours");
                let route = bindings[0]["route"].as_str().unwrap();
                assert!(
                    !route.starts_with("admin") && !route.starts_with("runtime"),
                    "{name}: the host refuses {route}"
                );
            } else {
                assert_eq!(bindings.len(), 1, "{name}");
            }
        }
    }

    #[test]
    fn no_route_can_reach_the_address_of_a_trigger_function() {
        let functions = Functions::load().unwrap();
        for function in functions.all().iter().filter(|function| !function.is_http()) {
            let path = format!("/{}", function.name);
            assert!(matches!(functions.route(&Method::POST, &path), Route::Nothing), "{path}");
        }
    }

    #[test]
    fn paths_match_in_any_letter_case_and_keep_their_values() {
        let functions = Functions::load().unwrap();
        match functions.route(&Method::GET, "/Portal/Subscriptions/AbC%2Fd/") {
            Route::Function(function, params) => {
                assert_eq!((function.name.as_str(), params["id"].as_str()), ("PortalSubscription", "AbC/d"));
            }
            _ => panic!("not found"),
        }
        assert!(matches!(functions.route(&Method::DELETE, "/portal"), Route::WrongMethod(_)));
        assert!(matches!(functions.route(&Method::GET, "/nothing"), Route::Nothing));
    }
}
