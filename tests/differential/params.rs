//! Parameters of prepared statements as they are on the wire.

use fairlane::protocol::wire::put_lenenc_bytes;

/// A parameter: its type, and its value unless it is NULL.
#[derive(Clone, PartialEq, Eq)]
pub struct Param {
    pub kind: u8,
    pub is_unsigned: bool,
    pub value: Option<Vec<u8>>,
}

impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.is_unsigned { "unsigned " } else { "" };
        match &self.value {
            Some(value) => {
                let shown = value[..value.len().min(40)].escape_ascii();
                write!(f, "{sign}{:#04x} `{shown}`", self.kind)
            }
            None => write!(f, "{sign}{:#04x} NULL", self.kind),
        }
    }
}

pub const DECIMAL: u8 = 0x00;
pub const TINY: u8 = 0x01;
pub const SHORT: u8 = 0x02;
pub const LONG: u8 = 0x03;
pub const FLOAT: u8 = 0x04;
pub const DOUBLE: u8 = 0x05;
pub const NULL: u8 = 0x06;
pub const TIMESTAMP: u8 = 0x07;
pub const LONGLONG: u8 = 0x08;
pub const INT24: u8 = 0x09;
pub const DATE: u8 = 0x0a;
pub const TIME: u8 = 0x0b;
pub const DATETIME: u8 = 0x0c;
pub const YEAR: u8 = 0x0d;
pub const VARCHAR: u8 = 0x0f;
pub const BIT: u8 = 0x10;
pub const NEWDECIMAL: u8 = 0xf6;
pub const ENUM: u8 = 0xf7;
pub const SET: u8 = 0xf8;
pub const TINY_BLOB: u8 = 0xf9;
pub const MEDIUM_BLOB: u8 = 0xfa;
pub const LONG_BLOB: u8 = 0xfb;
pub const BLOB: u8 = 0xfc;
pub const VAR_STRING: u8 = 0xfd;
pub const STRING: u8 = 0xfe;

pub fn null() -> Param {
    Param { kind: NULL, is_unsigned: false, value: None }
}

/// NULL under the name of another type.
pub fn null_as(kind: u8) -> Param {
    Param { kind, is_unsigned: false, value: None }
}

pub fn fixed(kind: u8, value: &[u8]) -> Param {
    Param { kind, is_unsigned: false, value: Some(value.to_vec()) }
}

pub fn unsigned(kind: u8, value: &[u8]) -> Param {
    Param { is_unsigned: true, ..fixed(kind, value) }
}

pub fn big(value: i64) -> Param {
    fixed(LONGLONG, &value.to_le_bytes())
}

/// A value with its length in front, as texts, blobs and decimals are sent.
pub fn text_as(kind: u8, value: &[u8]) -> Param {
    let mut bytes = Vec::new();
    put_lenenc_bytes(&mut bytes, value);
    fixed(kind, &bytes)
}

pub fn text(value: &str) -> Param {
    text_as(VAR_STRING, value.as_bytes())
}

/// Dates and times: one byte of length, then the fields that are not zero.
pub fn moment(kind: u8, fields: &[u8]) -> Param {
    fixed(kind, &[&[fields.len() as u8], fields].concat())
}

/// What follows the iteration count: NULL bitmap, types if they are sent, values.
pub fn put_params(out: &mut Vec<u8>, params: &[Param], sends_types: bool) {
    if params.is_empty() {
        return;
    }
    let mut bitmap = vec![0; params.len().div_ceil(8)];
    for (index, _) in params.iter().enumerate().filter(|(_, param)| param.value.is_none()) {
        bitmap[index / 8] |= 1 << (index % 8);
    }
    out.extend(bitmap);
    out.push(u8::from(sends_types));
    if sends_types {
        out.extend(params.iter().flat_map(|p| [p.kind, u8::from(p.is_unsigned) << 7]));
    }
    out.extend(params.iter().filter_map(|param| param.value.as_deref()).flatten());
}
