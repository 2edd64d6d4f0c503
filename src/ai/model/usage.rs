//! Reading `usage` objects (AI services contract 1.4, 1.10, 1.12, 6.2). Cached tokens are a part of the prompt's, reasoning
//! tokens of the completion's; neither is added. A zero is a value; what is absent is not known.

use serde_json::{Value, json};

use super::deployments::Kind;
use super::used::{Part, Used};

/// No answer has so many tokens: a service that says so is not believed.
const BEYOND_BELIEF: u64 = 1_000_000_000;

/// The tokens of a chat, of embeddings, of a response or of images; None when the object does not say how many.
pub fn tokens(kind: Kind, usage: &Value) -> Option<Used> {
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| usage[name].as_u64());
    let details = ["prompt_tokens_details", "input_tokens_details"].into_iter().map(|name| &usage[name]);
    let prompt = first(["prompt_tokens", "input_tokens"])?;
    let cached = details.filter_map(|details| details["cached_tokens"].as_u64()).next().unwrap_or(0).min(prompt);
    let told = first(["completion_tokens", "output_tokens"]);
    let rest = || usage["total_tokens"].as_u64()?.checked_sub(prompt);
    let output = match told.or_else(rest) {
        Some(output) => output,
        // Embeddings have no completion.
        None if kind == Kind::Embeddings => 0,
        None => return None,
    };
    if prompt.max(output) > BEYOND_BELIEF {
        return None;
    }
    Some(Used::of(Part::Input, prompt - cached).and(Part::CachedInput, cached).and(Part::Output, output))
}

/// A `usage` object of our own, where the service told none.
pub fn shown(kind: Kind, used: &Used) -> Value {
    let (input, output, total) = (used.get(Part::Input), used.get(Part::Output), used.tokens());
    match kind {
        Kind::Responses => json!({ "input_tokens": input, "output_tokens": output, "total_tokens": total }),
        Kind::Embeddings => json!({ "prompt_tokens": input, "total_tokens": total }),
        _ => json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": total }),
    }
}

/// The seconds of audio that a transcription's answer tells, as milliseconds.
pub fn audio_ms(answer: &Value) -> Option<u64> {
    let seconds = match answer["usage"]["type"].as_str() {
        Some("duration") => &answer["usage"]["seconds"],
        _ => &answer["duration"],
    };
    let seconds = seconds.as_f64().or_else(|| seconds.as_str()?.parse().ok())?;
    let fits = seconds.is_finite() && (0.0..1e6).contains(&seconds);
    // Milliseconds below 1e9: nothing is cut but their fraction.
    fits.then(|| std::time::Duration::from_secs_f64(seconds).as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_parts_of_the_totals_and_absent_usage_is_not_zero() {
        let full = json!({"prompt_tokens": 1200, "completion_tokens": 40, "total_tokens": 1240, "prompt_tokens_details": {"cached_tokens": 1024},
            "completion_tokens_details": {"reasoning_tokens": 30}});
        let used = Used::of(Part::Input, 176).and(Part::CachedInput, 1024).and(Part::Output, 40);
        let tokens = |usage: &Value| tokens(Kind::Chat, usage);
        assert_eq!(tokens(&full), Some(used.clone()));
        let response =
            json!({"input_tokens": 1200, "output_tokens": 40, "input_tokens_details": {"cached_tokens": 1024}});
        assert_eq!(tokens(&response), Some(used));
        assert_eq!(tokens(&json!({"prompt_tokens": 0, "completion_tokens": 0})), Some(Used::default()));
        let no_details = json!({"prompt_tokens": 5, "prompt_tokens_details": null});
        assert_eq!(super::tokens(Kind::Embeddings, &no_details), Some(Used::of(Part::Input, 5)));
        assert_eq!(tokens(&no_details), None, "an answer has an output");
        assert_eq!(tokens(&json!({"prompt_tokens": 5, "total_tokens": 7})).map(|used| used.tokens()), Some(7));
        assert_eq!(tokens(&json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX})), None);
        assert_eq!(tokens(&Value::Null), None);
        assert_eq!(tokens(&json!({"total_tokens": 7})), None);
    }

    #[test]
    fn durations_are_read_wherever_they_stand() {
        assert_eq!(audio_ms(&json!({"text": "", "duration": 2.5})), Some(2500));
        assert_eq!(audio_ms(&json!({"duration": "2.5"})), Some(2500));
        assert_eq!(audio_ms(&json!({"usage": {"type": "duration", "seconds": 3}})), Some(3000));
        assert_eq!(audio_ms(&json!({"text": "hi"})), None);
        assert_eq!(audio_ms(&json!({"duration": -1})), None);
    }
}
