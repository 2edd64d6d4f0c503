//! How many tokens a call used, by the service's own word, and what follows for the meters (AI services contract 1.4):
//! cached tokens are a part of the prompt's, reasoning tokens a part of the completion's. A zero is a value; what is
//! absent is not known.

use serde_json::Value;

use super::deployments::Meters;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub cached_input: u64,
    pub output: u64,
}

impl Tokens {
    /// Reads a `usage` object; None when it does not say how many.
    pub fn read(usage: &Value) -> Option<Self> {
        let prompt = usage["prompt_tokens"].as_u64()?;
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0).min(prompt);
        // Embeddings have no completion.
        let output = usage["completion_tokens"].as_u64().unwrap_or(0);
        Some(Self { input: prompt - cached, cached_input: cached, output })
    }

    /// What counts on which meter, meters without tokens left out. The name tells the records of a call apart.
    pub fn by_meter<'a>(&self, meters: &'a Meters) -> Vec<(&'static str, &'a str, u64)> {
        let cached = meters.cached_input.as_deref().unwrap_or(&meters.input);
        [
            ("input", Some(meters.input.as_str()), self.input),
            ("cached", Some(cached), self.cached_input),
            ("output", meters.output.as_deref(), self.output),
        ]
        .into_iter()
        .filter_map(|(name, meter, tokens)| Some((name, meter?, tokens)).filter(|_| tokens > 0))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_parts_of_the_totals_and_absent_usage_is_not_zero() {
        let read = |usage| Tokens::read(&usage);
        let full = json!({"prompt_tokens": 1200, "completion_tokens": 40, "total_tokens": 1240, "prompt_tokens_details": {"cached_tokens": 1024},
            "completion_tokens_details": {"reasoning_tokens": 30}});
        assert_eq!(read(full), Some(Tokens { input: 176, cached_input: 1024, output: 40 }));
        assert_eq!(
            read(json!({"prompt_tokens": 0, "completion_tokens": 0})),
            Some(Tokens { input: 0, cached_input: 0, output: 0 })
        );
        assert_eq!(
            read(json!({"prompt_tokens": 5, "prompt_tokens_details": null})),
            Some(Tokens { input: 5, cached_input: 0, output: 0 })
        );
        assert_eq!(read(Value::Null), None);
        assert_eq!(read(json!({"total_tokens": 7})), None);
    }
}
