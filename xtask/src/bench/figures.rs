//! What was measured, its medians, and the table of them.

use std::collections::BTreeMap;

use super::server::Kind;

/// One measurement.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    /// Megabytes or requests per second.
    pub(super) rate: f64,
    /// Processor time of the server: seconds per 100 MB or microseconds per request.
    pub(super) cpu: f64,
    /// MiB of memory of the server at most.
    pub(super) peak: f64,
    /// Milliseconds that one request of a hundred takes longer than.
    pub(super) slow: Option<f64>,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Row {
    PushOne,
    PushFour,
    PullOne,
    PullEight,
    SmallRanges,
    LargeRanges,
    ManifestByTag,
    ManifestByDigest,
    HeadByTag,
    Idle,
}

/// What the issue of the data plane asks of Berth beside distribution 3.1, and memory alone.
struct Goal {
    rate: f64,
    cpu: f64,
    peak: f64,
    /// Requests per second that are enough whatever the peer does.
    enough: f64,
    text: &'static str,
}

const NO_GOAL: Goal =
    Goal { rate: 0.0, cpu: f64::INFINITY, peak: f64::INFINITY, enough: f64::INFINITY, text: "–" };

impl Row {
    pub(super) const ALL: [Row; 10] = [
        Row::PushOne,
        Row::PushFour,
        Row::PullOne,
        Row::PullEight,
        Row::SmallRanges,
        Row::LargeRanges,
        Row::ManifestByTag,
        Row::ManifestByDigest,
        Row::HeadByTag,
        Row::Idle,
    ];

    fn title(self) -> &'static str {
        match self {
            Row::PushOne => "Push, 1 blob at a time",
            Row::PushFour => "Push, 4 at a time",
            Row::PullOne => "Pull, 1 at a time",
            Row::PullEight => "Pull, 8 at a time",
            Row::SmallRanges => "Random ranges of 64 KiB, 16 clients",
            Row::LargeRanges => "Random ranges of 1 MiB, 128 clients",
            Row::ManifestByTag => "GET manifest by tag, 32 clients",
            Row::ManifestByDigest => "GET manifest by digest, 32 clients",
            Row::HeadByTag => "HEAD manifest by tag, 32 clients",
            Row::Idle => "Memory at rest",
        }
    }

    fn goal(self) -> Goal {
        match self {
            Row::PushOne | Row::PushFour => {
                Goal { rate: 1.5, cpu: 0.8, text: "1.5× rate at 0.8× CPU", ..NO_GOAL }
            }
            Row::PullEight => {
                Goal { rate: 1.0, cpu: 0.5, text: "1× rate at 0.5× CPU", ..NO_GOAL }
            }
            Row::SmallRanges => {
                Goal { rate: 30.0, enough: 20_000.0, text: "30× rate, or 20 000/s", ..NO_GOAL }
            }
            Row::LargeRanges => Goal { peak: 80.0, text: "80 MiB", ..NO_GOAL },
            Row::ManifestByTag | Row::ManifestByDigest | Row::HeadByTag => {
                Goal { rate: 4.0, text: "4× rate", ..NO_GOAL }
            }
            Row::Idle => Goal { peak: 40.0, text: "40 MiB", ..NO_GOAL },
            Row::PullOne => NO_GOAL,
        }
    }

    fn is_bulk(self) -> bool {
        matches!(self, Row::PushOne | Row::PushFour | Row::PullOne | Row::PullEight)
    }
}

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<(Row, &'static str), Vec<Sample>>);

impl Figures {
    pub(super) fn add(&mut self, row: Row, kind: Kind, sample: Sample) {
        println!("xtask: {:20} {:36} {}", kind.title(), row.title(), cell(row, &sample));
        self.0.entry((row, kind.title())).or_default().push(sample);
    }

    fn median(&self, row: Row, kind: Kind) -> Option<Sample> {
        let samples = self.0.get(&(row, kind.title()))?;
        let of = |part: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(part).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Some(Sample {
            rate: of(|sample| sample.rate),
            cpu: of(|sample| sample.cpu),
            peak: of(|sample| sample.peak),
            slow: samples.first()?.slow.map(|_| of(|sample| sample.slow.unwrap_or_default())),
        })
    }

    /// The table in Markdown.
    pub(super) fn table(&self, peers: &[Kind]) -> String {
        let mut table = format!("| | {} |", Kind::Berth.title());
        for peer in peers {
            table.push_str(&format!(" {} | ratio |", peer.title()));
        }
        table.push_str(" goal beside 3.1 | met |\n|---|");
        table.push_str(&"---|".repeat(2 * peers.len() + 3));
        for row in Row::ALL {
            let Some(ours) = self.median(row, Kind::Berth) else { continue };
            table.push_str(&format!("\n| {} | {} |", row.title(), cell(row, &ours)));
            for peer in peers {
                let theirs = self.median(row, *peer);
                let text = theirs.map(|theirs| (cell(row, &theirs), ratio(row, &ours, &theirs)));
                let (cell, ratio) = text.unwrap_or_default();
                table.push_str(&format!(" {cell} | {ratio} |"));
            }
            let theirs = self.median(row, Kind::Dist31);
            table.push_str(&format!(
                " {} | {} |",
                row.goal().text,
                met(row, &ours, theirs.as_ref())
            ));
        }
        table.push('\n');
        table
    }
}

fn cell(row: Row, sample: &Sample) -> String {
    let Sample { rate, cpu, peak, slow } = sample;
    match slow {
        _ if row == Row::Idle => format!("{peak:.0} MiB"),
        _ if row.is_bulk() => format!("{rate:.0} MB/s, {cpu:.3} s, {peak:.0} MiB"),
        Some(slow) => format!("{rate:.0}/s, {cpu:.0} µs, {peak:.0} MiB, p99 {slow:.1} ms"),
        None => format!("{rate:.0}/s, {cpu:.0} µs, {peak:.0} MiB"),
    }
}

fn ratio(row: Row, ours: &Sample, theirs: &Sample) -> String {
    let memory = ours.peak / theirs.peak;
    if row == Row::Idle {
        return format!("{memory:.2}× memory");
    }
    let (rate, cpu) = (ours.rate / theirs.rate, ours.cpu / theirs.cpu);
    format!("{rate:.2}× rate, {cpu:.2}× CPU, {memory:.2}× memory")
}

fn met(row: Row, ours: &Sample, theirs: Option<&Sample>) -> &'static str {
    let goal = row.goal();
    let beside =
        |goal: f64, part: fn(&Sample) -> f64| theirs.map_or(f64::NAN, |theirs| goal * part(theirs));
    let fast = goal.rate == 0.0
        || ours.rate >= goal.enough
        || ours.rate >= beside(goal.rate, |sample| sample.rate);
    let cheap = goal.cpu.is_infinite() || ours.cpu <= beside(goal.cpu, |sample| sample.cpu);
    match (goal.text, fast && cheap && ours.peak <= goal.peak) {
        ("–", _) => "",
        (_, true) => "yes",
        (_, false) => "**no**",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, cpu: f64) -> Sample {
        Sample { rate, cpu, peak: 10.0, slow: None }
    }

    #[test]
    fn medians_and_goals() {
        let mut figures = Figures::default();
        for rate in [300.0, 100.0, 200.0] {
            figures.add(Row::PushOne, Kind::Berth, sample(rate, 0.5));
        }
        figures.add(Row::PushOne, Kind::Dist31, sample(100.0, 1.0));
        let table = figures.table(&[Kind::Dist31]);
        assert!(table.contains("2.00× rate, 0.50× CPU"), "{table}");
        assert!(table.ends_with("| 1.5× rate at 0.8× CPU | yes |\n"), "{table}");
        let slower = sample(100.0, 0.9);
        assert_eq!(met(Row::PushOne, &sample(149.0, 0.5), Some(&slower)), "**no**");
        assert_eq!(met(Row::SmallRanges, &sample(21_000.0, 0.5), Some(&slower)), "yes");
        assert_eq!(met(Row::PullOne, &slower, None), "");
    }
}
