//! Plots of the point selects: throughput, and CPU of the proxies, by threads.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::plan::{Load, THREADS, WAYS};
use crate::proxies::Way;
use crate::report::{Cell, Middle};
use crate::sysbench::Statements;

const SIZE: (u32, u32) = (960, 450);
/// Height without the legend.
const PANELS_HEIGHT: u32 = 400;
/// Width of a way's part of the legend.
const LEGEND_STEP: i32 = 150;
const FONT: &str = "sans-serif";
/// Room left and right of the first and last number of threads.
const MARGIN: f64 = 1.4;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plot: what it shows of each way, and how that is called.
struct Plot {
    file: &'static str,
    title: &'static str,
    axis: &'static str,
    value: fn(&Middle) -> Option<f64>,
}

const PLOTS: [Plot; 2] = [
    Plot {
        file: "relay-throughput.svg",
        title: "Point selects: throughput (more is better)",
        axis: "thousand queries/s",
        value: |middle| Some(middle.per_second / 1e3),
    },
    Plot {
        file: "relay-cpu.svg",
        title: "Point selects: CPU time of the proxy (less is better)",
        axis: "µs per query",
        value: |middle| middle.cpu_us,
    },
];

/// One way's values, by threads.
type Line = (Way, Vec<(f64, f64)>);

/// Writes all plots of `cells` into `out`.
pub(crate) fn save(cells: &[Cell], out: &Path) -> Result<()> {
    for plot in &PLOTS {
        let mut svg = String::new();
        draw(plot, cells, &mut svg).with_context(|| format!("drawing {}", plot.file))?;
        std::fs::write(out.join(plot.file), svg)?;
    }
    Ok(())
}

/// Both kinds of statements side by side, on one scale.
fn draw(plot: &Plot, cells: &[Cell], svg: &mut String) -> Result<()> {
    let panels = [Statements::Text, Statements::Prepared]
        .map(|statements| (statements, lines(plot, cells, statements)));
    let values = panels.iter().flat_map(|(_, lines)| lines).flat_map(|(_, points)| points);
    let top = 1.1 * values.map(|(_, value)| *value).fold(0.0, f64::max);

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(plot.title, (FONT, 20))?;
    let (above, below) = root.split_vertically(PANELS_HEIGHT);
    for (area, (statements, lines)) in above.split_evenly((1, panels.len())).iter().zip(&panels) {
        panel(plot, area, *statements, lines, top)
            .map_err(|error| anyhow!("the panel of {} statements: {error}", statements.name()))?;
    }
    let drawn = |way: &Way| panels.iter().flat_map(|(_, lines)| lines).any(|(of, _)| of == way);
    legend(&below, &WAYS.into_iter().filter(drawn).collect::<Vec<_>>())?;
    Ok(root.present()?)
}

/// Names of the ways, in a row, in their colours.
fn legend(area: &Area<'_>, ways: &[Way]) -> Result<()> {
    let mut x = 66;
    for way in ways {
        let line = PathElement::new([(x, 8), (x + 24, 8)], color(*way).stroke_width(3));
        area.draw(&line)?;
        area.draw(&Text::new(way.name(), (x + 32, 2), (FONT, 14)))?;
        x += LEGEND_STEP;
    }
    Ok(())
}

fn lines(plot: &Plot, cells: &[Cell], statements: Statements) -> Vec<Line> {
    let line = |way| {
        let point = |threads| {
            let middle = Middle::of(cells, Load::point_select(statements, threads), way)?;
            Some((f64::from(threads), (plot.value)(&middle)?))
        };
        (way, THREADS.into_iter().filter_map(point).collect::<Vec<_>>())
    };
    WAYS.into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect()
}

fn panel(
    plot: &Plot,
    area: &Area<'_>,
    statements: Statements,
    lines: &[Line],
    top: f64,
) -> Result<()> {
    let ends = [THREADS[0], THREADS[THREADS.len() - 1]].map(f64::from);
    let across = (ends[0] / MARGIN..ends[1] * MARGIN).log_scale().base(4.0);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{} statements", statements.name()), (FONT, 15))
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(across, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_desc("client threads")
        .y_desc(plot.axis)
        .x_label_formatter(&|threads| format!("{threads:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for (way, points) in lines {
        let color = color(*way);
        let points = points.iter().copied();
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(4))?;
    }
    Ok(())
}

/// Colours that people who tell few apart can tell apart (Okabe and Ito).
fn color(way: Way) -> RGBColor {
    match way {
        Way::Direct => RGBColor(0, 0, 0),
        Way::HaProxy => RGBColor(230, 159, 0),
        Way::Router => RGBColor(204, 121, 167),
        Way::Fairlane => RGBColor(0, 158, 115),
        Way::FairlaneReplica => RGBColor(86, 180, 233),
    }
}
