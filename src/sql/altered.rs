//! Whether a text alters a schema, which gives the session in it the new defaults at once.

use super::lexer::Lexer;
use super::mode::Mode;
use super::token::Kind;
use super::word::Word;

/// What may stand in the place of the name, which is then that of the schema chosen.
const OPTIONS: [&[u8]; 6] = [b"char", b"character", b"charset", b"collate", b"default", b"comment"];

/// Whether `sql` is an ALTER DATABASE of `schema`, the one that is chosen.
pub fn alters_schema(sql: &[u8], mode: Mode, schema: &str) -> bool {
    let mut lexer = Lexer::new(sql, mode);
    if lexer.next().word != Word::Alter
        || !matches!(lexer.next().word, Word::Database | Word::Schema)
    {
        return false;
    }
    let name = lexer.next();
    let text = &sql[name.start..name.end];
    match name.kind {
        Kind::Quoted => text
            .get(1..text.len().saturating_sub(1))
            .is_some_and(|text| text.eq_ignore_ascii_case(schema.as_bytes())),
        Kind::Word => {
            text.eq_ignore_ascii_case(schema.as_bytes())
                || OPTIONS.iter().any(|option| text.eq_ignore_ascii_case(option))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_named_or_is_the_one_chosen() {
        for (sql, expected) in [
            ("ALTER DATABASE shop CHARACTER SET latin1", true),
            ("alter /* a */ schema `shop` collate latin1_bin", true),
            ("ALTER DATABASE CHARACTER SET latin1", true),
            ("ALTER SCHEMA DEFAULT COLLATE latin1_bin", true),
            ("ALTER DATABASE other CHARACTER SET latin1", false),
            ("ALTER TABLE shop COMMENT 'a'", false),
            ("CREATE DATABASE shop", false),
            ("ALTER DATABASE", false),
        ] {
            assert_eq!(alters_schema(sql.as_bytes(), Mode::default(), "shop"), expected, "{sql}");
        }
    }
}
