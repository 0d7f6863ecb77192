//! What the operator sees of warm-ups, and what he may change.

use super::control::{WarmingOrder, WarmingRow};
use super::profiles::Configured;
use super::warming::{Warmings, terms};
use crate::base::Wall;
use crate::limit::{Course, Day, Pair, Terms, Warming};

impl Warmings {
    /// Those of virtual MTAs that are cold, as they would be if a recipient came now.
    pub fn rows(&self, configured: &Configured, now: Wall) -> Vec<WarmingRow> {
        let today = self.day(now);
        let kept = self.kept();
        let closed = kept.book.closed.is_some_and(|closed| today <= closed);
        let entries = kept.book.entries();
        drop(kept);
        let row = |(pair, mut warming): (Pair, Warming)| {
            let settings = configured.config.queue(&pair.domain, &pair.vmta);
            let terms = terms(&settings);
            warming.turn(today, &terms);
            row(&pair, &warming, &terms, closed)
        };
        entries.into_iter().filter(|(pair, _)| configured.is_cold(&pair.vmta)).map(row).collect()
    }

    /// Changes the warm-up of a cold virtual MTA at the domain of a queue; in words, what has been done.
    ///
    /// # Errors
    /// Why it has not.
    pub fn order(
        &self,
        configured: &Configured,
        vmta: &str,
        domain: &str,
        order: WarmingOrder,
        now: Wall,
    ) -> Result<String, String> {
        let today = self.day(now);
        let pair = Pair { vmta: vmta.into(), domain: domain.to_ascii_lowercase().into() };
        let settings = configured.config.queue(&pair.domain, &pair.vmta);
        let terms = terms(&settings);
        let mut kept = self.kept();
        let mut warming = match (kept.book.get(&pair), order) {
            (Some(warming), _) => *warming,
            (None, WarmingOrder::Day(_)) if configured.is_cold(vmta) => Warming::begin(today),
            (None, WarmingOrder::Day(_)) => {
                return Err(format!("no virtual MTA has `cold-virtual-mta {vmta}`"));
            }
            (None, _) => {
                return Err(format!(
                    "{vmta} has had no mail for {domain} yet; `show warming` lists all warm-ups"
                ));
            }
        };
        warming.turn(today, &terms);
        match order {
            WarmingOrder::Day(number) => {
                let most = terms.limits.len();
                if number == 0 || number as usize > most {
                    return Err(format!("--day={number}: max-cold-virtual-mta-msg has {most} day(s) here"));
                }
                (warming.step, warming.course) = (number as usize - 1, Course::Set);
            }
            WarmingOrder::Hold => warming.kept = true,
            WarmingOrder::Release => warming.kept = false,
        }
        let told = format!(
            "{vmta} at {}: step {} of {}, {} of {} today{}",
            pair.domain,
            warming.step + 1,
            terms.limits.len(),
            warming.given,
            warming.limit(&terms),
            if warming.kept { ", held" } else { "" }
        );
        kept.put(pair, warming).map_err(|e| format!("the order cannot be stored: {e}"))?;
        Ok(told)
    }
}

fn row(pair: &Pair, warming: &Warming, terms: &Terms<'_>, closed: bool) -> WarmingRow {
    let (state, why) = if closed { ("closed", CLOSED.to_owned()) } else { state(warming, terms) };
    WarmingRow {
        vmta: pair.vmta.to_string(),
        domain: pair.domain.to_string(),
        day: day_number(warming.first, warming.day),
        step: warming.step as u32 + 1,
        steps: terms.limits.len() as u32,
        given: warming.given,
        limit: warming.limit(terms),
        state: state.to_owned(),
        why,
        delivered: warming.outcomes.delivered,
        deferred: warming.outcomes.deferred,
        bounced: warming.outcomes.bounced,
    }
}

const CLOSED: &str = "what was given today is not known; nothing until midnight";

fn day_number(first: Day, day: Day) -> u32 {
    day.0.abs_diff(first.0).saturating_add(1)
}

/// In a word, how the day came by its step; and why.
fn state(warming: &Warming, terms: &Terms<'_>) -> (&'static str, String) {
    if warming.kept {
        return ("held", "by the operator".to_owned());
    }
    let failed = warming.before.deferred + warming.before.bounced;
    let share = format!("{failed} of {} attempts failed the day before", warming.before.all());
    let above = |percent: Option<u32>| percent.map_or(String::new(), |n| format!(", above {n}%"));
    match warming.course {
        Course::Begun => ("begun", String::new()),
        Course::Raised if terms.hold_above.or(terms.lower_above).is_some() => ("raised", share),
        Course::Raised => ("raised", "day by day".to_owned()),
        Course::Held => ("held", share + &above(terms.hold_above)),
        Course::Lowered => ("lowered", share + &above(terms.lower_above)),
        Course::Untried => ("held", "nothing was tried the day before".to_owned()),
        Course::Kept => ("released", "held by the operator before".to_owned()),
        Course::Set => ("set", "by the operator".to_owned()),
    }
}
