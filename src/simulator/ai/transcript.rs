//! What is heard in audio: nothing of it. The words follow from the length alone: one for every full 400 ms, in phrases
//! of ten, so of four seconds. Every phrase says that it is simulated; the last one ends where its words end.

/// From the start of a word to the start of the next.
const STEP: u64 = 400;

/// The rest of a step is quiet.
const SPOKEN: u64 = 320;

const WORDS_A_PHRASE: u64 = 10;

/// How sure the simulated service is of everything.
pub const CONFIDENCE: f64 = 0.9;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it is shown: the first of a phrase with a capital, the last with a full stop.
    pub text: String,
    /// Milliseconds.
    pub start: u64,
    pub length: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    pub words: Vec<Word>,
    pub start: u64,
    pub length: u64,
}

impl Phrase {
    pub fn text(&self) -> String {
        self.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// What is asked of the audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Transcribe,
    Translate,
}

/// The words of audio of this length, in phrases. Audio of less than 400 ms has none.
pub fn transcript(milliseconds: u64, task: Task) -> Vec<Phrase> {
    let words = milliseconds / STEP;
    (0..words.div_ceil(WORDS_A_PHRASE))
        .map(|index| {
            let first = index * WORDS_A_PHRASE;
            phrase(index, first, WORDS_A_PHRASE.min(words - first), task)
        })
        .collect()
}

fn phrase(index: u64, first: u64, count: u64, task: Task) -> Phrase {
    let sentence = match (index, task) {
        (0, Task::Transcribe) => "This is a simulated transcript that nobody has ever said".to_owned(),
        (0, Task::Translate) => "This is a simulated translation that nobody has ever said".to_owned(),
        _ => format!("Simulated phrase number {} is made of ten invented words", index + 1),
    };
    let texts = sentence.split(' ').map(str::to_owned);
    let mut words: Vec<Word> =
        (first..first + count).zip(texts).map(|(at, text)| Word { text, start: at * STEP, length: SPOKEN }).collect();
    if let Some(last) = words.last_mut() {
        last.text.push('.');
    }
    Phrase { words, start: first * STEP, length: (count.max(1) - 1) * STEP + SPOKEN }
}

/// The phrases as one text.
pub fn text(phrases: &[Phrase]) -> String {
    phrases.iter().map(Phrase::text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_from_the_length() {
        assert!(transcript(399, Task::Transcribe).is_empty());
        let phrases = transcript(9_000, Task::Transcribe);
        assert_eq!(phrases.iter().map(|phrase| phrase.words.len()).collect::<Vec<_>>(), [10, 10, 2]);
        assert_eq!((phrases[1].start, phrases[1].length, phrases[1].end()), (4_000, 3_920, 7_920));
        assert_eq!(
            text(&phrases),
            "This is a simulated transcript that nobody has ever said. \
             Simulated phrase number 2 is made of ten invented words. Simulated phrase."
        );
        assert!(phrases.iter().all(|phrase| phrase.end() <= 9_000));
        assert!(text(&transcript(2_000, Task::Translate)).contains("translation"));
    }
}
