//! How the rate grows with the number of shards.

use std::io;

use clap::Args;

use super::{BackEnd, campaign, load};

/// A campaign's rate with 1, 2 and more shards
#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub campaign: campaign::Plan,
    /// The most shards; one per core unless told
    #[arg(long)]
    pub shards: Option<u32>,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    for back_end in BackEnd::chosen(plan.campaign.runtime) {
        for shards in 1..=plan.shards.unwrap_or(cores) {
            let one = campaign::Plan { threads: Some(shards), ..plan.campaign.clone() };
            let before = load();
            let measured = campaign::once(&one, back_end, plan.campaign.round_trips.unwrap_or(1))?;
            println!(
                "scale: {shards} shards: {:.0} messages a second, {:.2} CPU-us a message, back end {}, load before {before}",
                measured.seen.rate(),
                measured.cpu.per_message(measured.messages),
                measured.back_end
            );
        }
    }
    Ok(())
}
