//! Texts as a server writes them for `character_set_results`.
//!
//! Most character sets write ASCII as it is. Those with two or four bytes a character don't, and servers take
//! them for results, though not for statements. What Fairlane asks for itself is ASCII but for a name here or
//! there, so that the first characters of a text show how it is written: it is asked of the text, since a
//! session may have changed the variable without a word.

use std::borrow::Cow;

/// How characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// ASCII is written as it is.
    #[default]
    Ascii,
    /// `utf16` and `ucs2`.
    Utf16,
    /// `utf16le`.
    Utf16Le,
    /// `utf32`.
    Utf32,
}

impl Encoding {
    /// That of a text which begins with an ASCII character.
    pub fn of(text: &[u8]) -> Self {
        match text {
            [0, 0, 0, first, ..] if *first != 0 => Self::Utf32,
            [0, first, ..] if *first != 0 => Self::Utf16,
            [first, 0, ..] if *first != 0 => Self::Utf16Le,
            _ => Self::Ascii,
        }
    }

    /// That of a character set.
    pub fn named(charset: &str) -> Self {
        match charset {
            "utf16" | "ucs2" => Self::Utf16,
            "utf16le" => Self::Utf16Le,
            "utf32" => Self::Utf32,
            _ => Self::Ascii,
        }
    }

    /// A text; what is no UTF as far as it goes.
    ///
    /// FACT(mysql 9.7): integers and times are written in ASCII whatever the character set is, in
    /// MariaDB as all else is; test: `counts_are_told_in_wide_character_sets`.
    pub fn read(self, text: &[u8]) -> Cow<'_, str> {
        match self {
            _ if !text.contains(&0) => String::from_utf8_lossy(text),
            Self::Ascii => String::from_utf8_lossy(text),
            Self::Utf16 => read_units(text, u16::from_be_bytes).into(),
            Self::Utf16Le => read_units(text, u16::from_le_bytes).into(),
            Self::Utf32 => {
                let chars = text.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
                let read = |char| char::from_u32(char).unwrap_or(char::REPLACEMENT_CHARACTER);
                chars.map(read).collect()
            }
        }
    }

    /// A text in ASCII as it is written.
    pub fn write(self, text: &str) -> Vec<u8> {
        let units = text.encode_utf16();
        match self {
            Self::Ascii => text.as_bytes().to_vec(),
            Self::Utf16 => units.flat_map(u16::to_be_bytes).collect(),
            Self::Utf16Le => units.flat_map(u16::to_le_bytes).collect(),
            Self::Utf32 => text.chars().flat_map(|char| u32::from(char).to_be_bytes()).collect(),
        }
    }
}

fn read_units(text: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = text.as_chunks().0.iter().map(|bytes| unit(*bytes));
    char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::Encoding;

    #[test]
    fn a_text_shows_how_it_is_written() {
        for charset in ["utf16", "ucs2", "utf16le", "utf32", "utf8mb4", "latin1"] {
            let encoding = Encoding::named(charset);
            for text in ["Error", "1", "utf8mb4_bin", "BEGIN FLUSH TABLES; END"] {
                let written = encoding.write(text);
                assert_eq!(Encoding::of(&written), encoding, "{charset} {text}");
                assert_eq!(encoding.read(&written), text, "{charset}");
                // As MySQL writes its integers.
                assert_eq!(encoding.read(b"12"), "12", "{charset}");
            }
        }
        assert_eq!(Encoding::of(b""), Encoding::Ascii);
        assert_eq!(Encoding::of(b"\0\0"), Encoding::Ascii);
    }

    #[test]
    fn what_is_no_text_is_read_as_far_as_it_goes() {
        assert_eq!(Encoding::Ascii.read(b"a\xe9\0"), "a\u{fffd}\0");
        assert_eq!(Encoding::Utf16.read(b"\0a\xd8\0\0b\0"), "a\u{fffd}b");
        assert_eq!(Encoding::Utf32.read(b"\0\0\0a\0\x11\0\0"), "a\u{fffd}");
        assert_eq!(Encoding::Utf16Le.read(b"a\x004\xd8\x1e\xdd"), "a\u{1d11e}");
    }
}
