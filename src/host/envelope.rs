//! The envelope in which the Functions host hands over queue messages (functions-host contract 3): the text arrives
//! JSON-encoded twice; the documentation shows it once. Both are read.

use serde_json::Value;

/// The text of a queue message in an envelope. None: there is no such binding in it, or it is no envelope.
pub fn queue_text(body: &[u8], binding: &str) -> Option<String> {
    let envelope: Value = serde_json::from_slice(body).ok()?;
    let data = envelope.get("Data")?.as_object()?;
    let value = data
        .get(binding)
        .or_else(|| data.iter().find(|(name, _)| name.eq_ignore_ascii_case(binding)).map(|(_, value)| value))?;
    Some(match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(Value::String(inner)) => inner,
            _ => text.clone(),
        },
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn envelope(data: &Value) -> Vec<u8> {
        json!({"Data": data, "Metadata": {"DequeueCount": "1", "sys": {"MethodName": "x"}}}).to_string().into_bytes()
    }

    #[test]
    fn text_is_read_doubled_plain_and_as_an_object() {
        let message = r#"{"subscription":"1"}"#;
        for shape in
            [Value::from(serde_json::to_string(message).unwrap()), Value::from(message), json!({"subscription": "1"})]
        {
            assert_eq!(queue_text(&envelope(&json!({"msg": shape})), "msg").as_deref(), Some(message));
        }
        assert_eq!(queue_text(&envelope(&json!({"msg": "\"hello\""})), "msg").as_deref(), Some("hello"));
        assert_eq!(queue_text(&envelope(&json!({"MSG": "hello"})), "msg").as_deref(), Some("hello"));
        assert_eq!(queue_text(b"{}", "msg"), None);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = queue_text(&bytes, "msg");
        }

        #[test]
        fn any_text_survives_the_doubling(text in ".{0,80}") {
            let doubled = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(queue_text(&envelope(&json!({"msg": doubled})), "msg"), Some(text));
        }
    }
}
