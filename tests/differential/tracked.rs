//! Session tracking in OK packets: what can't be equal on two ways is masked.

use fairlane::protocol::status::{OkPacket, Status};
use fairlane::protocol::wire::{Cursor, Malformed, put_lenenc_bytes};

/// Sorts the variables (MariaDB tells them in the order of a hash over addresses), and masks
/// positions and statement ids.
pub fn mask(payload: &mut Vec<u8>) {
    if !matches!(payload.first(), Some(0 | 0xfe)) {
        return;
    }
    let masked = match OkPacket::parse(payload) {
        Ok(ok) if ok.status.contains(Status::SESSION_STATE_CHANGED) => {
            entries(ok.tracking).map(|entries| ok.with_tracking(payload, &entries))
        }
        _ => return,
    };
    if let Ok(masked) = masked {
        *payload = masked;
    }
}

fn entries(tracking: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut cursor = Cursor::new(tracking);
    let mut entries = Vec::new();
    while !cursor.is_empty() {
        let kind = cursor.u8("type")?;
        let mut data = cursor.lenenc_bytes("entry")?.to_vec();
        let name = Cursor::new(&data).lenenc_bytes("name").unwrap_or_default().to_vec();
        match (kind, &name[..]) {
            // Left out where Fairlane answers by itself, see docs/compatibility.md.
            (0, b"statement_id") => continue,
            (0, b"last_gtid") => {
                data.truncate(name.len() + 1);
                put_lenenc_bytes(&mut data, b"#");
            }
            (3, _) => data = b"\0\x01#".to_vec(),
            _ => {}
        }
        entries.push((kind, data));
    }
    let variables = entries.iter().take_while(|(kind, _)| *kind == 0).count();
    entries[..variables].sort();
    let mut out = Vec::new();
    for (kind, data) in entries {
        out.push(kind);
        put_lenenc_bytes(&mut out, &data);
    }
    Ok(out)
}
