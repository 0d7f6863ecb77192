//! The texts that were read, and places in them.

use std::sync::Arc;

use crate::diagnostic::Origin;

/// A stretch of one line of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub file: u32,
    /// From 1.
    pub line: u32,
    /// Byte offset in the line.
    pub start: u32,
    /// Bytes; at least 1 is shown.
    pub len: u32,
}

impl Place {
    /// A part of this line: `range` counts bytes from this place's start.
    pub fn part(self, range: &std::ops::Range<usize>) -> Place {
        let (start, len) = (range.start as u32, range.len() as u32);
        Place { start: self.start + start, len, ..self }
    }
}

/// One file as read. The same path included twice is held twice, since each has its own include chain.
#[derive(Debug)]
struct SourceText {
    path: Arc<str>,
    text: Arc<str>,
    /// Byte offset of every line.
    starts: Vec<u32>,
    included_at: Option<Place>,
}

/// Every file of one load.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<SourceText>);

impl Sources {
    pub fn add(&mut self, path: &str, text: &Arc<str>, included_at: Option<Place>) -> u32 {
        // Files are at most 64 MiB.
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        self.0.push(SourceText { path: path.into(), text: text.clone(), starts, included_at });
        self.0.len() as u32 - 1
    }

    pub fn path(&self, file: u32) -> &Arc<str> {
        &self.0[file as usize].path
    }

    pub fn line(&self, place: Place) -> &str {
        let source = &self.0[place.file as usize];
        let start = source.starts.get(place.line as usize - 1).map_or(source.text.len(), |s| *s as usize);
        source.text[start..].lines().next().unwrap_or("")
    }

    pub fn origin(&self, place: Place) -> Origin {
        Origin { file: self.path(place.file).clone(), line: place.line }
    }

    /// Where the file of `place` was included, then where that file was, up to the main file.
    pub fn includes(&self, place: Place) -> Vec<Origin> {
        let mut chain = Vec::new();
        let mut at = self.0[place.file as usize].included_at;
        while let Some(place) = at {
            chain.push(self.origin(place));
            at = self.0[place.file as usize].included_at;
        }
        chain
    }

    /// Whether `path` is being read now, seen from `file` up its include chain.
    pub fn is_open(&self, file: u32, path: &str) -> bool {
        let mut at = Some(file);
        while let Some(file) = at {
            let source = &self.0[file as usize];
            if &*source.path == path {
                return true;
            }
            at = source.included_at.map(|p| p.file);
        }
        false
    }

    pub fn depth(&self, file: u32) -> usize {
        let mut depth = 0;
        let mut at = self.0[file as usize].included_at;
        while let Some(place) = at {
            depth += 1;
            at = self.0[place.file as usize].included_at;
        }
        depth
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
