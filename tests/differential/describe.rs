//! Packets in words, for the reader of a difference.

use fairlane::protocol::status::{ErrPacket, OkPacket};
use fairlane::protocol::wire::{Cursor, Malformed};

use crate::side::Packet;

/// Bytes shown of a packet.
const SHOWN: usize = 96;

/// Sequence id, meaning, and the bytes around `at`, where the packets begin to differ.
pub fn describe(packet: Option<&Packet>, at: usize) -> String {
    let Some(packet) = packet else { return "nothing".into() };
    let payload = &packet.payload;
    let from = at.saturating_sub(SHOWN / 2).min(payload.len().saturating_sub(SHOWN));
    let shown = &payload[from..payload.len().min(from + SHOWN)];
    let hex = shown.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    format!(
        "sequence {}, {} bytes, from byte {from}:\n      {hex}\n      {}",
        packet.sequence,
        payload.len(),
        meaning(payload)
    )
}

fn meaning(payload: &[u8]) -> String {
    match payload {
        [] => "an empty packet".into(),
        [0xff, ..] => match ErrPacket::parse(payload) {
            Ok(error) => format!(
                "ERR {} ({}) {}",
                error.code,
                error.sqlstate.escape_ascii(),
                error.message.escape_ascii()
            ),
            Err(error) => format!("ERR that is {error}"),
        },
        [0xfe, _, _, c, d] => {
            let warnings = u16::from_le_bytes([payload[1], payload[2]]);
            format!("EOF, warnings {warnings}, status {:#06x}", u16::from_le_bytes([*c, *d]))
        }
        [0x03, b'd', b'e', b'f', ..] => {
            definition(payload).unwrap_or_else(|error| format!("column that is {error}"))
        }
        [0x00 | 0xfe, ..] => match OkPacket::parse(payload) {
            Ok(ok) => format!(
                "OK (or PREPARE_OK or a row): affected {}, insert id {}, status {:?}, warnings {}, \
                 text `{}`",
                ok.affected,
                ok.insert_id,
                ok.status,
                ok.warnings,
                ok.text.escape_ascii()
            ),
            Err(_) => format!("row `{}`", start(payload)),
        },
        _ => format!("number of columns, or row `{}`", start(payload)),
    }
}

fn start(payload: &[u8]) -> String {
    payload[..payload.len().min(400)].escape_ascii().to_string()
}

fn definition(payload: &[u8]) -> Result<String, Malformed> {
    let mut cursor = Cursor::new(payload);
    let mut names = Vec::new();
    for what in ["catalogue", "schema", "table", "original table", "name", "original name"] {
        names.push(format!("{what} `{}`", cursor.lenenc_bytes(what)?.escape_ascii()));
    }
    let rest = cursor.rest();
    // MariaDB's extended type information stands in front of the fixed part of 12 bytes.
    let fixed_at = rest.iter().position(|&byte| byte == 12).unwrap_or(0);
    let mut fixed = Cursor::new(&rest[fixed_at..]);
    fixed.take(1, "length")?;
    Ok(format!(
        "column {}, collation {}, length {}, type {:#04x}, flags {:#06x}, decimals {}, then {:?}",
        names.join(", "),
        fixed.u16("collation")?,
        fixed.u32("length")?,
        fixed.u8("type")?,
        fixed.u16("flags")?,
        fixed.u8("decimals")?,
        fixed.rest()
    ))
}
