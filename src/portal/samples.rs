//! Code samples of the playground: the same call by curl, by Python and by Node. The script of the page fills the same
//! forms with the call that was just made, so what differs stands in marks: `«fields»`, `«query»`, `«file»` as text of
//! the language, and `«file!»`, `«format!»` as they are.

use serde_json::{Value, json};

/// How a language writes the fields of a call; the page's script knows the same names.
#[derive(Clone, Copy)]
enum Style {
    /// `"name": value` within an object of JSON.
    Json,
    /// `-F 'name=value'`.
    Form,
    /// `name=value,` on lines of their own.
    Python,
    /// `name: value,` on lines of their own.
    Node,
}

impl Style {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Form => "form",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// `fields` are names and literals, which are the same in JSON, Python and JavaScript.
    fn write(self, fields: &[(&str, String)]) -> String {
        let each = fields.iter().map(|(name, value)| match self {
            Self::Json => format!("\"{name}\": {value}"),
            Self::Form => format!(" \\\n  -F '{name}={}'", value.trim_matches('"')),
            Self::Python => format!("\n    {name}={value},"),
            Self::Node => format!("\n  {name}: {value},"),
        });
        each.collect::<Vec<_>>().join(if matches!(self, Self::Json) { ", " } else { "" })
    }
}

struct Sample {
    language: &'static str,
    style: Style,
    text: &'static str,
}

const fn sample(language: &'static str, style: Style, text: &'static str) -> Sample {
    Sample { language, style, text }
}

const CHAT: [Sample; 3] = [
    sample(
        "curl",
        Style::Json,
        r#"curl -N «api»/chat/completions \
  -H "Authorization: Bearer <key>" \
  -H "Content-Type: application/json" \
  -d '{«fields», "stream": true}'"#,
    ),
    sample(
        "Python",
        Style::Python,
        r#"from openai import OpenAI

client = OpenAI(base_url="«api»", api_key="<key>")
stream = client.chat.completions.create(«fields»
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)"#,
    ),
    sample(
        "Node",
        Style::Node,
        r#"import OpenAI from "openai";

const client = new OpenAI({ baseURL: "«api»", apiKey: "<key>" });
const stream = await client.chat.completions.create({«fields»
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}"#,
    ),
];

const TRANSCRIBE: [Sample; 3] = [
    sample(
        "curl",
        Style::Form,
        r#"curl «api»/audio/transcriptions \
  -H "Authorization: Bearer <key>" \
  -F 'file=@"«file!»"'«fields»"#,
    ),
    sample(
        "Python",
        Style::Python,
        r#"from openai import OpenAI

client = OpenAI(base_url="«api»", api_key="<key>")
answer = client.audio.transcriptions.create(
    file=open(«file», "rb"),«fields»
)
print(answer if isinstance(answer, str) else answer.text)"#,
    ),
    sample(
        "Node",
        Style::Node,
        r#"import fs from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "«api»", apiKey: "<key>" });
const answer = await client.audio.transcriptions.create({
  file: fs.createReadStream(«file»),«fields»
});
console.log(answer.text ?? answer);"#,
    ),
];

const SPEAK: [Sample; 3] = [
    sample(
        "curl",
        Style::Json,
        r#"curl «api»/audio/speech \
  -H "Authorization: Bearer <key>" \
  -H "Content-Type: application/json" \
  -d '{«fields»}' \
  -o speech.«format!»"#,
    ),
    sample(
        "Python",
        Style::Python,
        r#"from openai import OpenAI

client = OpenAI(base_url="«api»", api_key="<key>")
with client.audio.speech.with_streaming_response.create(«fields»
) as answer:
    answer.stream_to_file("speech.«format!»")"#,
    ),
    sample(
        "Node",
        Style::Node,
        r#"import fs from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "«api»", apiKey: "<key>" });
const answer = await client.audio.speech.create({«fields»
});
fs.writeFileSync("speech.«format!»", Buffer.from(await answer.arrayBuffer()));"#,
    ),
];

const ANALYZE_FILE: [Sample; 3] = [
    sample(
        "curl",
        Style::Json,
        r#"curl '«api»/vision/analyze?«query»' \
  -H "Authorization: Bearer <key>" \
  -H "Content-Type: application/octet-stream" \
  --data-binary '@«file!»'"#,
    ),
    sample(
        "Python",
        Style::Python,
        r#"import requests

answer = requests.post(
    "«api»/vision/analyze?«query»",
    headers={"Authorization": "Bearer <key>", "Content-Type": "application/octet-stream"},
    data=open(«file», "rb"),
)
print(answer.json())"#,
    ),
    sample(
        "Node",
        Style::Node,
        r#"import fs from "node:fs";

const answer = await fetch("«api»/vision/analyze?«query»", {
  method: "POST",
  headers: { "Authorization": "Bearer <key>", "Content-Type": "application/octet-stream" },
  body: fs.readFileSync(«file»),
});
console.log(await answer.json());"#,
    ),
];

const ANALYZE_URL: [Sample; 3] = [
    sample(
        "curl",
        Style::Json,
        r#"curl «api»/vision/analyze \
  -H "Authorization: Bearer <key>" \
  -H "Content-Type: application/json" \
  -d '{«fields»}'"#,
    ),
    sample(
        "Python",
        Style::Json,
        r#"import requests

answer = requests.post(
    "«api»/vision/analyze",
    headers={"Authorization": "Bearer <key>"},
    json={«fields»},
)
print(answer.json())"#,
    ),
    sample(
        "Node",
        Style::Json,
        r#"const answer = await fetch("«api»/vision/analyze", {
  method: "POST",
  headers: { "Authorization": "Bearer <key>", "Content-Type": "application/json" },
  body: JSON.stringify({«fields»}),
});
console.log(await answer.json());"#,
    ),
];

/// The samples of a tool with a first example in them, and the forms that the script fills.
pub fn of(tool: &str, model: &str, api: &str) -> Vec<Value> {
    let text = |text: &str| format!("\"{text}\"");
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("model", model).finish();
    let query = format!("{query}&features=caption,tags");
    let model = ("model", text(model));
    let (samples, other, fields, file) = match tool {
        "chat" => {
            let messages = r#"[{"role": "user", "content": "Hello"}]"#.to_owned();
            (&CHAT, None, vec![model, ("messages", messages)], "")
        }
        "transcribe" => (&TRANSCRIBE, None, vec![model, ("response_format", text("json"))], "meeting.wav"),
        "speak" => {
            let voice = ("voice", text("alloy"));
            (&SPEAK, None, vec![model, voice, ("response_format", text("mp3")), ("input", text("Hello"))], "")
        }
        _ => (&ANALYZE_FILE, Some(&ANALYZE_URL), vec![model], "photo.jpg"),
    };
    let with_api = |text: &str| text.replace("«api»", api);
    let filled = |sample: &Sample| {
        with_api(sample.text)
            .replace("«fields»", &sample.style.write(&fields))
            .replace("«query»", &query)
            .replace("«file»", &text(file))
            .replace("«file!»", file)
            .replace("«format!»", "mp3")
    };
    let all = samples.iter().enumerate().map(|(at, sample)| {
        let other = other.map(|other| &other[at]);
        json!({
            "language": sample.language, "text": filled(sample), "style": sample.style.name(), "form": with_api(sample.text),
            "other_style": other.map(|other| other.style.name()), "other_form": other.map(|other| with_api(other.text)),
        })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_complete_and_at_the_customers_address() {
        for tool in ["chat", "transcribe", "speak", "analyze"] {
            let samples = of(tool, "my-model", "https://ai.example/v1");
            assert_eq!(
                samples.iter().map(|one| one["language"].as_str().unwrap()).collect::<Vec<_>>(),
                ["curl", "Python", "Node"]
            );
            for one in samples {
                let text = one["text"].as_str().unwrap();
                assert!(!text.contains('«') && text.contains("https://ai.example/v1"), "{text}");
                assert!(text.contains("my-model") && text.contains("<key>"), "{text}");
                assert!(one["form"].as_str().unwrap().contains('«'), "{one}");
            }
        }
        let chat = of("chat", "chat", "http://x/v1");
        assert!(
            chat[0]["text"].as_str().unwrap().ends_with(
                r#"-d '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'"#
            ),
            "{}",
            chat[0]["text"]
        );
    }
}
