//! Compressed recipients files: `.gz` and `.zst`, read as a stream.

use std::io::{self, BufRead, BufReader, Read};

/// Bytes of decoded text buffered for the readers of rows.
const BUFFER: usize = 256 * 1024;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Plain,
    /// One or more gzip members (RFC 1952).
    Gzip,
    /// One or more Zstandard frames (RFC 8878).
    Zstd,
}

/// A reader of the decoded text.
///
/// # Errors
/// When the decoder cannot be set up.
pub fn open_compressed<'a>(
    input: impl Read + Send + 'a,
    compression: Compression,
) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    Ok(match compression {
        Compression::Plain => Box::new(BufReader::with_capacity(BUFFER, input)),
        Compression::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(BUFFER, input));
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(input)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    pub fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    pub fn zst(text: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(text, 1).unwrap()
    }

    pub fn text() -> Vec<u8> {
        (0..20_000).flat_map(|n| format!("r{n}@site.example,{}\n", n * 7919 % 104_729).into_bytes()).collect()
    }

    #[test]
    fn archives_read_as_what_was_packed() {
        let text = text();
        let two = [gzip(&text), gzip(&text)].concat();
        for (packed, compression, times) in [
            (text.clone(), Compression::Plain, 1),
            (gzip(&text), Compression::Gzip, 1),
            (zst(&text), Compression::Zstd, 1),
            (two, Compression::Gzip, 2),
            ([zst(&text), zst(&text)].concat(), Compression::Zstd, 2),
        ] {
            let mut read = Vec::new();
            open_compressed(packed.as_slice(), compression).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == text.repeat(times), "{compression:?}");
        }
    }
}
