//! The stored form of a recipient row: the address, then one value for each merge field, each with its length in
//! LEB128 before it. Written by intake, read at delivery and by accounting; every read is bounds-checked,
//! because the bytes come from a file.

/// The field in which rows have an envelope sender each: that of their submission does not count then.
pub const SENDER_FIELD: &str = "*from";
/// The field, the last one, in which rows say why their recipients were refused: all of its submission bounce at once.
pub const REFUSED_FIELD: &str = "*refused";

/// A row's bytes do not hold what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("a value's length is cut off or longer than five bytes at offset {at} of the row")]
    Length { at: usize },
    #[error("a value of {want} bytes at offset {at} runs past the end of the row ({have} bytes left)")]
    Short { at: usize, want: usize, have: usize },
    #[error("the value at offset {at} of the row is not UTF-8")]
    Utf8 { at: usize },
}

/// Appends `value` with its length before it. Allocates only what `out` has to grow by.
///
/// A value of 4 GiB or more does not fit; intake refuses values over 64 KiB long before.
pub fn put_value(out: &mut Vec<u8>, value: &str) {
    let mut length = u32::try_from(value.len()).expect("intake refuses values over 64 KiB");
    while length >= 0x80 {
        out.push((length as u8 & 0x7f) | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value.as_bytes());
}

/// Bytes that [`put_value`] adds for a value of `len` bytes.
pub fn value_size(len: usize) -> usize {
    let bits = (usize::BITS - len.leading_zeros()).max(1) as usize;
    len + bits.div_ceil(7)
}

/// A stored row, borrowed from wherever it lies.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    /// The recipient's address as it was given.
    pub address: &'a str,
    bytes: &'a [u8],
    values_at: usize,
}

/// Reads the address of a stored row; the values are read as they are asked for.
///
/// # Errors
/// When the bytes do not start with a whole UTF-8 value.
pub fn row_view(bytes: &[u8]) -> Result<RowView<'_>, RowError> {
    let (address, values_at) = take_value(bytes, 0)?;
    Ok(RowView { address, bytes, values_at })
}

impl<'a> RowView<'a> {
    /// The value of one field.
    pub fn value(&self, field: usize) -> Option<&'a str> {
        self.values().nth(field)?.ok()
    }

    /// The values in the order of the submission's fields.
    pub fn values(&self) -> Values<'a> {
        Values { bytes: self.bytes, at: self.values_at }
    }
}

/// The values of a row, one after the other; it ends after the first error.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<&'a str, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        match take_value(self.bytes, self.at) {
            Ok((value, next)) => {
                self.at = next;
                Some(Ok(value))
            }
            Err(error) => {
                self.at = self.bytes.len();
                Some(Err(error))
            }
        }
    }
}

/// The value at `at` and the offset after it.
fn take_value(bytes: &[u8], at: usize) -> Result<(&str, usize), RowError> {
    let mut length = 0_u64;
    let mut next = at;
    loop {
        let shift = (next - at) * 7;
        let byte = match bytes.get(next) {
            Some(byte) if shift < 35 => *byte,
            _ => return Err(RowError::Length { at }),
        };
        length |= u64::from(byte & 0x7f) << shift;
        next += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let have = bytes.len() - next;
    let want = usize::try_from(length).map_err(|_| RowError::Length { at })?;
    if want > have {
        return Err(RowError::Short { at, want, have });
    }
    let value = std::str::from_utf8(&bytes[next..next + want]).map_err(|_| RowError::Utf8 { at: next })?;
    Ok((value, next + want))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_is_read_back() {
        let long = "x".repeat(300);
        let mut bytes = Vec::new();
        for value in ["jim@site.example", "Jim", "", &long] {
            put_value(&mut bytes, value);
        }
        let row = row_view(&bytes).unwrap();
        assert_eq!(row.address, "jim@site.example");
        assert_eq!(row.values().collect::<Result<Vec<_>, _>>().unwrap(), ["Jim", "", &long]);
    }

    #[test]
    fn a_damaged_row_says_where() {
        assert_eq!(row_view(b"").unwrap_err(), RowError::Length { at: 0 });
        assert_eq!(row_view(b"\x05abc").unwrap_err(), RowError::Short { at: 0, want: 5, have: 3 });
        assert_eq!(row_view(b"\x80\x80\x80\x80\x80\x01a").unwrap_err(), RowError::Length { at: 0 });
        assert_eq!(row_view(b"\x01\xff").unwrap_err(), RowError::Utf8 { at: 1 });
        let row = row_view(b"\x01a\x09").unwrap();
        assert_eq!(row.values().collect::<Vec<_>>(), [Err(RowError::Short { at: 2, want: 9, have: 0 })]);
    }

    proptest! {
        #[test]
        fn every_row_round_trips(values in prop::collection::vec(".{0,200}", 1..8)) {
            let mut bytes = Vec::new();
            for value in &values {
                let before = bytes.len();
                put_value(&mut bytes, value);
                prop_assert_eq!(bytes.len() - before, value_size(value.len()));
            }
            let row = row_view(&bytes).unwrap();
            let mut read = vec![row.address.to_owned()];
            read.extend(row.values().map(|value| value.unwrap().to_owned()));
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(row) = row_view(&bytes) {
                prop_assert!(row.values().count() <= bytes.len());
            }
        }
    }
}
