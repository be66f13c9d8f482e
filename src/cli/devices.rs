//! `voxelcast devices`.

use serde_json::{Value, json};

use super::{Context, Output};
use crate::report::table;

/// Lists the CPU and the cards, and says why one cannot be used. Nothing here is an error: what is
/// not there is part of the answer.
pub fn devices(context: &Context) -> Output {
    let memory = crate::resources::available_bytes();
    let threads = context.settings.n_threads;
    let (cards, problem) = cards();
    let mut rows = vec![["device", "name", "capability", "memory", "free", ""]]
        .into_iter()
        .map(|row| row.map(str::to_owned).to_vec())
        .collect::<Vec<_>>();
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let name = format!("{threads} threads");
    rows.push(vec!["cpu".into(), name, "-".into(), "-".into(), gib(memory), String::new()]);
    for card in &cards {
        let text = |key: &str| card[key].as_str().unwrap_or("").to_owned();
        let bytes = |key: &str| gib(card[key].as_u64().unwrap_or(0));
        rows.push(vec![
            text("device"),
            text("name"),
            text("capability"),
            bytes("memory_bytes"),
            bytes("free_bytes"),
            text("problem"),
        ]);
    }
    let mut text = table::align(&rows, 3);
    if let Some(problem) = &problem {
        text += &format!("no cuda device: {problem}\n");
    }
    let (device, reason) = (&context.settings.device, &context.settings.device_reason);
    text += &format!("taken: {device} ({reason})\n");
    let cpu = json!({ "device": "cpu", "threads": threads, "free_bytes": memory });
    let document = json!({
        "schema": "voxelcast.devices/1",
        "cpu": cpu,
        "cuda": cards,
        "cuda_problem": problem,
        "taken": context.settings.device.to_string(),
        "reason": context.settings.device_reason,
    });
    Output { document, text }
}

/// The cards as JSON; a sentence where there are none.
#[cfg(feature = "cuda")]
fn cards() -> (Vec<Value>, Option<String>) {
    match crate::backend::gpu::cards::list() {
        Err(problem) => (Vec::new(), Some(problem)),
        Ok(cards) => {
            let card = |card: &crate::backend::gpu::launch::CardInfo| {
                json!({
                    "device": format!("cuda:{}", card.ordinal),
                    "name": card.name,
                    "capability": format!("{}.{}", card.capability.0, card.capability.1),
                    "memory_bytes": card.total_bytes,
                    "free_bytes": card.free_bytes,
                    "problem": card.problem,
                })
            };
            (cards.iter().map(card).collect(), None)
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cards() -> (Vec<Value>, Option<String>) {
    (Vec::new(), Some("this voxelcast was built without CUDA".into()))
}
