//! Segments that are emptied, in the model of the log.

use super::*;
use crate::spool::forward::{Found, Records, gather};

impl Model {
    pub fn defer(&mut self, pick: usize, count: usize) {
        let picked: Vec<u64> =
            self.live.keys().skip(pick % self.live.len().max(1)).take(count).copied().collect();
        self.outcomes(&picked, Disposition::Deferred);
        picked.iter().for_each(|number| self.live.get_mut(number).expect("picked from there").attempts += 1);
    }

    /// Empties a segment, if one is nearly empty. What happens while its rows are read makes the plan void.
    pub fn forward(&mut self, settle_meanwhile: bool) {
        self.cursor = self.log.durable();
        let plan = self.log.ledger().forwardable(self.cursor, self.log.segment(), true);
        let Some(plan) = plan else { return };
        let ends = self.log.ledger().ends().iter().map(|end| (end.segment, end.end8)).collect();
        let source = Source { disk: &self.disk, moves: &self.moves, ends };
        let forward = gather(plan, &source).expect("every record is there");
        if settle_meanwhile {
            self.settle(0, 1);
        }
        if !self.log.ledger().is_current(&forward.plan) {
            return;
        }
        let ledger = self.log.ledger();
        let group = forward.group(|row| ledger.is_live(row.record.segment, row.ordinal));
        let bound = Log::group_bound(&group);
        if bound > self.log.forward_limit() {
            return self.log.leave(forward.plan.segment, 8);
        }
        let live = ledger.live_rows();
        if self.log.room(bound) == Room::AfterRoll {
            self.roll();
        }
        let places = self.log.append(group).expect("appended").places;
        assert_eq!(self.log.ledger().live_rows(), live, "rows were lost or doubled");
        self.moves.add(forward.moved(&places));
        self.carried += 1;
    }
}

/// The model's disk as the rows to be carried are read from it.
struct Source<'a> {
    disk: &'a Disk,
    moves: &'a Moves,
    ends: BTreeMap<u32, u32>,
}

impl Source<'_> {
    fn found(&self, at: Location) -> Found {
        let file = &self.disk.files[&at.segment];
        let start = at.byte_offset() as usize;
        let key = Key::new(at.segment, file.header.nonce);
        let header = key.header(&file.current, 0, start).expect("a record begins there");
        let bytes = file.current[start + FRAME..start + FRAME + header.len as usize].to_vec();
        Found { at, kind: header.kind, first_ordinal: header.ordinal, bytes }
    }
}

impl Records for Source<'_> {
    fn read(&self, at: Location) -> Result<Found, SpoolError> {
        Ok(self.found(self.moves.get(at).map_or(at, |moved| moved.to.at)))
    }

    fn rows_of(&self, segment: u32, _: &dyn Fn(u32) -> bool) -> Result<Vec<Found>, SpoolError> {
        let file = &self.disk.files[&segment];
        let end = self.ends[&segment] as usize * 8;
        let scan = crate::spool::scan::scan(&Key::new(segment, file.header.nonce), &file.current[..end]);
        let frames = scan.judge(end, true).frames;
        let rows = frames.iter().filter(|frame| frame.header.kind == Kind::Rows);
        Ok(rows.map(|frame| self.found(Location { segment, offset8: (frame.at / 8) as u32 })).collect())
    }
}

/// A crash between any two writes and syncs of an emptying leaves every row there once, with its attempts.
#[test]
fn one_stubborn_row_does_not_hold_its_segment() {
    let mut model = Model::new();
    let mut stubborn = Vec::new();
    for round in 0..40 {
        model.append(39, 900);
        model.sync();
        stubborn.push(*model.live.keys().next_back().expect("appended"));
        model.defer(usize::MAX, 1);
        let others: Vec<u64> =
            model.live.keys().filter(|number| !stubborn.contains(number)).copied().collect();
        model.outcomes(&others, Disposition::Delivered);
        model.live.retain(|number, _| stubborn.contains(number));
        model.sync();
        model.forward(false);
        match round % 4 {
            0 => model.crash(round, 512, 128),
            1 => {
                model.write();
                model.crash(round, 4096, 128);
            }
            2 => {
                model.sync();
                model.crash(round, 512, 255);
            }
            _ => {}
        }
        model.sync();
        model.reclaim(round % 2 == 0);
    }
    assert!(model.carried > 10, "{} segments were emptied", model.carried);
    assert_eq!(model.live.keys().copied().collect::<Vec<_>>(), stubborn);
    let used = model.log.ledger().segment_count();
    assert!(used <= 8, "{used} segments for {} rows", stubborn.len());
}
