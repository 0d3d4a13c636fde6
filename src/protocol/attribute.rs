//! Query attributes (MySQL): named parameters of one command, in front of a statement's text or
//! behind the parameters of a prepared statement.
//!
//! ```text
//! COM_QUERY:  count, sets = 1, [NULL bitmap, 1, count x (type, name), values], text
//! COM_STMT_EXECUTE:  ..., count, NULL bitmap, types follow?, [count x (type, name)], values
//! ```
//!
//! Fairlane carries them to the server and reads only where they end.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html>.

use super::wire::{Cursor, Malformed};

/// The front of a text without attributes: no parameter, one set.
pub const NONE: &[u8] = &[0, 1];

/// Bytes of a COM_QUERY body in front of its text.
///
/// # Errors
/// Where MySQL 9.7 answers that the packet is malformed.
pub fn front(body: &[u8]) -> Result<usize, Malformed> {
    let mut cursor = Cursor::new(body);
    let count = cursor.lenenc("number of attributes")?;
    if cursor.lenenc("sets of attributes")? != 1 {
        return Err(Malformed { what: "sets of attributes", offset: cursor.offset() });
    }
    if count == 0 {
        return Ok(cursor.offset());
    }
    let count = usize::try_from(count).ok().filter(|&count| count <= body.len());
    let count = count.ok_or(Malformed { what: "number of attributes", offset: 0 })?;
    let nulls = cursor.take(count.div_ceil(8), "NULL bitmap")?;
    if cursor.u8("types of attributes")? != 1 {
        return Err(Malformed { what: "types of attributes", offset: cursor.offset() });
    }
    let mut kinds = cursor.clone();
    named_types(&mut cursor, count)?;
    for index in 0..count {
        let kind = kinds.u16("type")?;
        kinds.lenenc_bytes("name")?;
        if nulls[index / 8] & 1 << (index % 8) == 0 {
            value(&mut cursor, kind.to_le_bytes()[0])?;
        }
    }
    Ok(cursor.offset())
}

/// Reads over `count` types with their names; returns their bytes.
pub fn named_types<'a>(cursor: &mut Cursor<'a>, count: usize) -> Result<&'a [u8], Malformed> {
    let (from, rest) = (cursor.offset(), cursor.remaining());
    for _ in 0..count {
        cursor.take(2, "type")?;
        cursor.lenenc_bytes("name")?;
    }
    Ok(&rest[..cursor.offset() - from])
}

/// Reads a value of a type in the binary protocol; returns its bytes, without those that tell how
/// many there are.
pub fn value<'a>(cursor: &mut Cursor<'a>, kind: u8) -> Result<&'a [u8], Malformed> {
    let length = match kind {
        // TINY, BOOL; SHORT, YEAR; LONG, INT24, FLOAT; LONGLONG, DOUBLE.
        1 | 244 => 1,
        2 | 13 => 2,
        3 | 4 | 9 => 4,
        5 | 8 => 8,
        // TIMESTAMP, DATE, TIME, DATETIME.
        7 | 10..=12 => usize::from(cursor.u8("length of a time")?),
        _ => return cursor.lenenc_bytes("value"),
    };
    cursor.take(length, "value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_begins_behind_the_attributes() {
        assert_eq!(front(b"\0\x01SELECT 1"), Ok(2));
        // A text, a NULL, an integer and a date.
        let body = b"\x04\x01\x02\x01\xfe\0\x02n1\x06\0\0\x08\0\x01i\x0a\0\x01d\
            \x02v1\x01\0\0\0\0\0\0\0\x04\xea\x07\x01\x02SELECT 2";
        let front = front(body).expect("attributes");
        assert_eq!(&body[front..], b"SELECT 2");
    }

    #[test]
    fn what_mysql_calls_malformed_is() {
        let all: [&[u8]; 6] = [
            b"",
            b"\0",
            b"SELECT 1",
            b"\0\x02SELECT 1",
            b"\x01\x01\0\0\xfe\0\x02n1\x02v1SELECT 1",
            b"\x01\x01\0\x01\xfe\0\x02n1\xfc",
        ];
        for body in all {
            assert!(front(body).is_err(), "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(body: Vec<u8>) {
            if let Ok(front) = front(&body) {
                prop_assert!(front <= body.len());
            }
        }
    }
}
