//! Batch transcription and batch synthesis at Azure Speech, over real HTTP.
