//! A plot of the click latencies: one panel per size, cumulative shares over a log axis.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::load::{Mode, Run};

const PANEL_WIDTH: f64 = 320.0;
const PANEL_HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 78.0;
const GAP: f64 = 28.0;
const BOTTOM: f64 = 52.0;
/// Ends of the x axis in milliseconds.
const FIRST_MS: f64 = 1.0;
const LAST_MS: f64 = 20_000.0;
const TICKS_MS: &[(f64, &str)] =
    &[(1.0, "1 ms"), (10.0, "10 ms"), (100.0, "100 ms"), (1000.0, "1 s"), (10_000.0, "10 s")];

/// Colours of both schemes; the viewer's own setting chooses.
const STYLE: &str = "<style>
svg { --back: #ffffff; --ink: #1d2733; --soft: #66727f; --grid: #dfe4e9; --direct: #c2410c; \
--fairlane: #0f766e; }
@media (prefers-color-scheme: dark) { svg { --back: #12181f; --ink: #e8edf2; --soft: #9aa7b4; \
--grid: #2a343f; --direct: #fb923c; --fairlane: #2dd4bf; } }
.back { fill: var(--back); } text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.title { font-size: 16px; font-weight: 600; } .soft { fill: var(--soft); }
.grid { stroke: var(--grid); } .frame { fill: none; stroke: var(--soft); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.direct { stroke: var(--direct); stroke-dasharray: 7 4; } .fairlane { stroke: var(--fairlane); }
.direct-text { fill: var(--direct); font-weight: 600; }
.fairlane-text { fill: var(--fairlane); font-weight: 600; }
</style>
";

/// Draws `runs` to `path`.
pub(crate) fn save(runs: &[Run], path: &Path) -> Result<()> {
    let svg = draw(runs)?;
    fs::write(path, svg).with_context(|| format!("writing {}", path.display()))
}

fn draw(runs: &[Run]) -> Result<String> {
    let mut sizes: Vec<u32> = runs.iter().map(|run| run.outlets).collect();
    sizes.dedup();
    let width = LEFT + sizes.len() as f64 * (PANEL_WIDTH + GAP);
    let height = TOP + PANEL_HEIGHT + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"Latency of clicks, directly and through Fairlane\">\n{STYLE}\
         <rect class=\"back\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"26\">Clicks answered within a time, while the \
         scraper runs</text>\n"
    );
    legend(&mut svg)?;
    for (index, outlets) in sizes.iter().enumerate() {
        let x = LEFT + index as f64 * (PANEL_WIDTH + GAP);
        let of_size: Vec<&Run> = runs.iter().filter(|run| run.outlets == *outlets).collect();
        panel(&mut svg, x, &of_size, index == 0)?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn legend(svg: &mut String) -> Result<()> {
    for (x, class, text) in [
        (LEFT, "direct", "directly on the primary"),
        (LEFT + 210.0, "fairlane", "through Fairlane"),
    ] {
        writeln!(
            svg,
            "<path class=\"line {class}\" d=\"M{x} 44h30\"/>\
             <text class=\"{class}-text\" x=\"{}\" y=\"48\">{text}</text>",
            x + 38.0
        )?;
    }
    Ok(())
}

fn panel(svg: &mut String, x: f64, runs: &[&Run], is_first: bool) -> Result<()> {
    let Some(run) = runs.first() else { return Ok(()) };
    let bottom = TOP + PANEL_HEIGHT;
    writeln!(
        svg,
        "<text x=\"{x}\" y=\"{}\">{} outlets, {} workers</text>",
        TOP - 9.0,
        run.outlets,
        run.workers
    )?;
    for (ms, label) in TICKS_MS {
        let at = x + across(*ms);
        writeln!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>\
             <text class=\"soft\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 18.0
        )?;
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = down(share);
        writeln!(svg, "<path class=\"grid\" d=\"M{x} {at}h{PANEL_WIDTH}\"/>")?;
        if is_first {
            writeln!(
                svg,
                "<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.0} %</text>",
                x - 8.0,
                at + 4.0,
                share * 100.0
            )?;
        }
    }
    writeln!(
        svg,
        "<rect class=\"frame\" x=\"{x}\" y=\"{TOP}\" width=\"{PANEL_WIDTH}\" \
         height=\"{PANEL_HEIGHT}\"/>\n<text class=\"soft\" x=\"{}\" y=\"{}\" \
         text-anchor=\"middle\">time from arrival to last answer</text>",
        x + PANEL_WIDTH / 2.0,
        bottom + 38.0
    )?;
    for run in runs {
        curve(svg, x, run)?;
    }
    Ok(())
}

/// One run's curve. Failed clicks count as never answered, so a curve with failures ends below
/// the top.
fn curve(svg: &mut String, x: f64, run: &Run) -> Result<()> {
    let class = match run.mode {
        Mode::Direct => "direct",
        Mode::Fairlane => "fairlane",
    };
    if run.latency.answered == 0 {
        writeln!(
            svg,
            "<path class=\"line {class}\" d=\"M{x} {at}h{PANEL_WIDTH}\"/>\
             <text class=\"{class}-text\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}: none of {} \
             clicks answered</text>",
            x + PANEL_WIDTH - 8.0,
            down(0.0) - 10.0,
            run.mode.name(),
            run.clicks,
            at = down(0.0),
        )?;
        return Ok(());
    }
    let answered = run.latency.answered as f64 / run.clicks.max(1) as f64;
    let mut path = String::new();
    for (index, (ms, share)) in run.latency.cdf.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        write!(path, "{letter}{:.1} {:.1}", x + across(*ms), down(share * answered))?;
    }
    write!(path, "H{:.1}", x + PANEL_WIDTH)?;
    writeln!(svg, "<path class=\"line {class}\" d=\"{path}\"/>")?;
    Ok(())
}

/// Distance of `ms` from a panel's left side.
fn across(ms: f64) -> f64 {
    let ms = ms.clamp(FIRST_MS, LAST_MS);
    PANEL_WIDTH * (ms / FIRST_MS).ln() / (LAST_MS / FIRST_MS).ln()
}

/// Height on the page of a share.
fn down(share: f64) -> f64 {
    TOP + PANEL_HEIGHT * (1.0 - share)
}
