//! Compressed recipients files: `.gz` and `.zst`, read as a stream. An archive that is cut off or damaged has to be found
//! before its first row is stored, so there is a pass that only reads it to its end.

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

/// The archive cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "the archive is damaged or cut off after {decoded} decoded bytes: {source}; compress the file again"
    )]
    Damaged { decoded: u64, source: io::Error },
    #[error("the archive decodes to more than {limit} bytes")]
    TooLong { limit: u64 },
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

/// Decodes an archive to its end and checks its checksums; a plain file is not read at all. Returns the number of
/// decoded bytes (0 for a plain file).
///
/// # Errors
/// When the archive is damaged, cut off, or decodes to more than `limit` bytes.
pub fn check_archive(
    input: impl Read + Send,
    compression: Compression,
    limit: u64,
) -> Result<u64, ArchiveError> {
    if compression == Compression::Plain {
        return Ok(0);
    }
    let mut decoded = 0;
    let mut reader =
        open_compressed(input, compression).map_err(|source| ArchiveError::Damaged { decoded, source })?;
    loop {
        let read = match reader.fill_buf() {
            Ok(bytes) => bytes.len(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ArchiveError::Damaged { decoded, source }),
        };
        if read == 0 {
            return Ok(decoded);
        }
        reader.consume(read);
        decoded += read as u64;
        if decoded > limit {
            return Err(ArchiveError::TooLong { limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zst(text: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(text, 1).unwrap()
    }

    fn text() -> Vec<u8> {
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
            let decoded = if compression == Compression::Plain { 0 } else { read.len() as u64 };
            assert_eq!(check_archive(packed.as_slice(), compression, u64::MAX).unwrap(), decoded);
        }
    }

    #[test]
    fn a_cut_or_damaged_archive_is_found_before_the_first_row() {
        let text = text();
        for (packed, compression) in [(gzip(&text), Compression::Gzip), (zst(&text), Compression::Zstd)] {
            for cut in [1, 3, packed.len() / 2, packed.len() - 1] {
                let error = check_archive(&packed[..cut], compression, u64::MAX);
                assert!(
                    matches!(error, Err(ArchiveError::Damaged { .. })),
                    "{compression:?} cut at {cut}: {error:?}"
                );
            }
            let mut noise = packed.clone();
            noise[0] ^= 0xff;
            assert!(check_archive(noise.as_slice(), compression, u64::MAX).is_err());
            let too_long = check_archive(packed.as_slice(), compression, 1000);
            assert!(matches!(too_long, Err(ArchiveError::TooLong { limit: 1000 })));
        }
        let mut flipped = gzip(&text);
        let checksum = flipped.len() - 8;
        flipped[checksum] ^= 1;
        assert!(check_archive(flipped.as_slice(), Compression::Gzip, u64::MAX).is_err());
    }
}
