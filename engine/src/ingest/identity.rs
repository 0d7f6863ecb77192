//! What tells a pickup file from every other, so that a crash between storing and removing it injects nothing twice (F26).

/// What the file system says about a file or a campaign's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity<'a> {
    pub device: u64,
    pub inode: u64,
    /// Bytes; of a campaign, those of its recipients file.
    pub size: u64,
    /// Time of the last change, in nanoseconds since 1970; of a campaign, that of its recipients file.
    pub modified_ns: i128,
    /// Name in the pickup directory, which need not be UTF-8.
    pub name: &'a [u8],
}

impl FileIdentity<'_> {
    /// The identity as text: five parts between colons, numbers in hexadecimal, and the name with everything but letters,
    /// digits, `.`, `-` and `_` percent-encoded. Two files have the same text only when all five parts are the same.
    pub fn text(&self) -> String {
        let (sign, modified) = (if self.modified_ns < 0 { "-" } else { "" }, self.modified_ns.unsigned_abs());
        let mut text = format!("{:x}:{:x}:{:x}:{sign}{modified:x}:", self.device, self.inode, self.size);
        for &byte in self.name {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
                text.push(byte as char);
            } else {
                text.push_str(&format!("%{byte:02x}"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let file = FileIdentity { device: 0xfd01, inode: 255, size: 10, modified_ns: 16, name: b"a b%.eml" };
        assert_eq!(file.text(), "fd01:ff:a:10:a%20b%25.eml");
        let others = [
            FileIdentity { device: 1, ..file },
            FileIdentity { inode: 1, ..file },
            FileIdentity { size: 1, ..file },
            FileIdentity { modified_ns: -16, ..file },
            FileIdentity { name: b"a%20b%.eml", ..file },
            FileIdentity { name: b"a b\xff.eml", ..file },
        ];
        for other in others {
            assert_ne!(other.text(), file.text());
        }
    }
}
