//! What routines leave on a connection, and servers don't tell.

use super::connection::{Connection, Failure};

/// What has run on a connection since it was at rest that may have left there what nothing tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Ran {
    /// Nothing of the kind.
    #[default]
    Plain,
    /// A function, which may have set the role.
    Function,
    /// A procedure, or a block of statements.
    Procedure,
}

const ROLES: &str = "SELECT COUNT(*) FROM information_schema.applicable_roles LIMIT 1";

impl Connection {
    /// Whether its role is another than after its login, or may be. Asks no more than once where the account has
    /// none to set.
    pub async fn has_other_role(&mut self) -> Result<bool, Failure> {
        if self.has_roles.is_none() {
            let answer = self.query(ROLES).await?;
            self.has_roles = Some(answer.first_row().first().is_none_or(|count| count != "0"));
        }
        if self.has_roles == Some(false) {
            return Ok(false);
        }
        let answer = self.query("SELECT CURRENT_ROLE() LIMIT 1").await?;
        Ok(answer.first_row().first() != Some(&self.role))
    }
}
