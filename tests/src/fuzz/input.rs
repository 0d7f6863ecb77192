//! Reading a fuzzer's bytes as what a property needs: small numbers first, texts up to a separator. Every input means
//! something, so that no mutation is wasted, and corpus files can be written by hand.

/// Ends a text. It occurs in no UTF-8.
pub const SEPARATOR: u8 = 0xff;

/// Bytes taken from the front; past the end all is zero and empty.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Input<'a> {
        Input(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.0 else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Below `limit`, which is at most 256.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Up to the next separator, which is passed over.
    pub fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|b| *b == SEPARATOR).unwrap_or(self.0.len());
        let text = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }

    /// As [`Input::text`]; what is no UTF-8 becomes replacement characters.
    pub fn string(&mut self) -> String {
        String::from_utf8_lossy(self.text()).into_owned()
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// `data` cut into pieces whose lengths the bytes of `cuts` say (zero: one byte), again and again.
pub fn pieces<'a>(data: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    for length in cuts.iter().chain([&1]).cycle() {
        if rest.is_empty() {
            return pieces;
        }
        let (piece, after) = rest.split_at(usize::from(*length).clamp(1, rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Whether every CR and LF is half of a CR LF: said as plainly as possible, to compare with.
pub fn is_crlf_only(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'\r' => bytes.get(at + 1) == Some(&b'\n'),
        b'\n' => at > 0 && bytes[at - 1] == b'\r',
        _ => true,
    })
}

/// One line that a terminal shows as it is: what every error text has to be.
pub fn assert_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "a control character in {text:?}");
}
