//! What texts of SET NAMES came to on a connection, so that the server is asked once for each.

/// Texts kept; applications have one or two.
const TEXTS: usize = 4;
/// Longest text kept, in bytes.
const TEXT_MAX: usize = 96;
/// Session variables by which one text has several meanings.
const MEANINGS: [&str; 3] =
    ["character_set_collations", "default_collation_for_utf8mb4", "old_mode"];

/// Character sets and collations by the texts that chose them.
#[derive(Debug, Default)]
pub struct NamesMemory {
    known: Vec<Names>,
}

#[derive(Debug)]
struct Names {
    text: Box<[u8]>,
    charset: Box<str>,
    collation: Box<str>,
}

impl NamesMemory {
    /// Character set and collation that `sql` chose before on this connection.
    pub fn get(&self, sql: &[u8]) -> Option<(Box<str>, Box<str>)> {
        let names = self.known.iter().find(|names| *names.text == *sql)?;
        Some((names.charset.clone(), names.collation.clone()))
    }

    /// Remembers what `sql` chose, if that hangs on nothing but its text.
    pub fn remember(&mut self, sql: &[u8], charset: &str, collation: &str) {
        if !is_plain(sql) || self.get(sql).is_some() {
            return;
        }
        if self.known.len() == TEXTS {
            self.known.remove(0);
        }
        let (charset, collation) = (charset.into(), collation.into());
        self.known.push(Names { text: sql.into(), charset, collation });
    }
}

/// Whether a session with these variables gives texts the meaning they have after login.
pub fn means_the_same<'a>(mut variables: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    !variables.any(|(name, _)| MEANINGS.contains(&name))
}

/// Whether a text is a SET NAMES of literal names alone. What DEFAULT is can change at any time.
fn is_plain(sql: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" \t\r\n_'\"`".contains(byte);
    let lower = sql.to_ascii_lowercase();
    sql.len() <= TEXT_MAX
        && sql.iter().all(is_plain)
        && !lower.windows(7).any(|word| word == b"default")
        && lower
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .take(2)
            .eq([b"set".as_slice(), b"names"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literal_names_are_remembered() {
        let mut memory = NamesMemory::default();
        for sql in [
            "set names 'utf8mb4' collate 'utf8mb4_unicode_ci'",
            "SET NAMES latin1",
            "SET NAMES DEFAULT",
            "SET NAMES utf8mb4 COLLATE Default",
            "SET NAMES utf8mb4, @a = 1",
            "SET NAMES utf8mb4; SELECT 1",
            "SET NAMES /*! latin1 */ utf8",
            "SET names = 5",
            "SET character_set_client = latin1",
        ] {
            memory.remember(sql.as_bytes(), "utf8mb4", "utf8mb4_unicode_ci");
        }
        let texts: Vec<_> = memory.known.iter().map(|names| names.text.len()).collect();
        assert_eq!(texts, [48, 16]);
        assert!(memory.get(b"SET NAMES latin1").is_some());
        assert!(memory.get(b"SET NAMES latin2").is_none());
    }

    #[test]
    fn the_oldest_text_makes_room() {
        let mut memory = NamesMemory::default();
        for number in 0..9 {
            memory.remember(format!("SET NAMES x{number}").as_bytes(), "x", "x_bin");
        }
        assert_eq!(memory.known.len(), TEXTS);
        assert!(memory.get(b"SET NAMES x8").is_some() && memory.get(b"SET NAMES x4").is_none());
    }

    #[test]
    fn variables_may_change_what_a_text_means() {
        assert!(means_the_same([("time_zone", "SYSTEM")].into_iter()));
        assert!(!means_the_same([("old_mode", ""), ("time_zone", "SYSTEM")].into_iter()));
    }
}
