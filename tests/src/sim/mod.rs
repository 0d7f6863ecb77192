//! The deterministic simulator: the production core and storage loop on a virtual clock, with a fake network, fake
//! receiving sites, a fake disk and a fake DNS, all from one seed, and an auditor outside of it.
//!
//! `cargo run -p tests --bin sim -- SEED` runs one seed, `--runs N` many. First come faults, then calm, in which
//! everything must come to its end. What the auditor demands is in [`audit`] and [`verdict`].

pub mod audit;
mod audit_modes;
mod audit_receivers;
mod audit_wide;
#[cfg(test)]
mod audit_tests;
mod content;
mod day;
mod disk;
mod dns;
mod happen;
mod import;
mod life;
mod net;
mod peer;
pub mod plan;
mod plan_wide;
mod post;
mod site;
mod steering;
mod totals;
mod verdict;
mod wires;
mod world;
mod works;

pub use totals::Totals;

use audit::Breach;
use disk::FakeDisk;
use life::{Ground, Life};
use plan::Plan;
use post::Post;
use posthaste::daemon::accounting_config::stream_options;
use posthaste::daemon::profiles::Configured;
use posthaste::shard::{ShardReply, ShardRequest};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use verdict::AtEnd;
use vmta_config::{Config, MemoryFiles, load};
use world::{Clock, End, World};

/// What came of a seed.
pub struct Story {
    pub seed: u64,
    pub breaches: Vec<Breach>,
    pub totals: Totals,
    /// Equal for equal runs.
    pub hash: u64,
    /// How long it was, in its own time.
    pub lasted: Duration,
    /// What happened, where asked for.
    pub trace: Vec<String>,
}

/// After the calm nothing may take longer.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

/// Runs one seed.
pub fn run(seed: u64, trace: bool) -> Story {
    run_plan(Rc::new(Plan::new(seed)), trace)
}

pub fn run_plan(plan: Rc<Plan>, trace: bool) -> Story {
    let seed = plan.seed;
    catch_unwind(AssertUnwindSafe(|| begin(plan, trace))).unwrap_or_else(|panic| {
        let text = post::message_of(&*panic);
        let breaches = vec![Breach { at: Duration::ZERO, promise: "no panic", text }];
        Story {
            seed,
            breaches,
            totals: Totals::default(),
            hash: 0,
            lasted: Duration::ZERO,
            trace: Vec::new(),
        }
    })
}

fn begin(plan: Rc<Plan>, trace: bool) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    // What draws from the thread's generator draws the same for the same seed.
    fastrand::seed(plan.seed);
    // The accounting files are real ones, on a RAM disk where there is one: their syncs are not what is tested.
    let ram = Path::new("/dev/shm");
    let below = if ram.is_dir() { ram.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::Builder::new().prefix("sim-").tempdir_in(below).expect("a temporary directory");
    runtime.block_on(tell(plan, trace, directory.path()))
}

async fn tell(plan: Rc<Plan>, trace: bool, directory: &Path) -> Story {
    let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0x5eed);
    let config = configuration(&plan, directory);
    let configured =
        Arc::new(Configured::new(config, "mail.sender.example").expect("a usable configuration"));
    let post = Rc::new(Post::default());
    let ground = Ground {
        clock: Rc::new(Clock::new()),
        disk: FakeDisk::new(rng.fork(), plan.disk.clone(), Rc::clone(&post)),
        post,
        configured,
        segment_size: plan.segment_size,
        spare: plan.spare,
        commit_deadline: plan.commit_deadline,
        route_seed: rng.u64(..),
    };
    let mut world = World::new(Rc::clone(&plan), ground, rng);
    world.trace = trace.then(Vec::new);
    let end = lives(&mut world, directory).await;
    world.audit.finish(&end);
    Story {
        seed: plan.seed,
        breaches: std::mem::take(&mut world.audit.breaches),
        totals: Totals::of(&world),
        hash: world.hash,
        lasted: world.ground.clock.now(),
        trace: world.trace.take().unwrap_or_default(),
    }
}

fn configuration(plan: &Plan, directory: &Path) -> Arc<Config> {
    let text = plan.config.replace("/nowhere", &directory.display().to_string());
    let loaded = load("config", &MemoryFiles::new([("config", text)]), false);
    Arc::new(loaded.config.unwrap_or_else(|| panic!("{:?}\n{}", loaded.diagnostics, plan.config)))
}

/// One life after the other, until everything is at rest.
async fn lives(world: &mut World, directory: &Path) -> AtEnd {
    loop {
        let local = tokio::task::LocalSet::new();
        let ended = local.run_until(one_life(world, directory)).await;
        drop(local);
        if let Some(end) = ended {
            return end;
        }
        world.life_number += 1;
        let down = world.ground.clock.now() + Duration::from_millis(world.rng.u64(100..20_000));
        while let Some(at) = world.agenda.next().filter(|at| *at <= down) {
            tokio::time::sleep_until(world.ground.clock.instant(at)).await;
            while let Some(event) = world.agenda.pop(world.ground.clock.now()) {
                world.happen_alone(event);
            }
        }
        tokio::time::sleep_until(world.ground.clock.instant(down)).await;
        world.ground.post.clear();
    }
}

/// `None`: the engine went down and is to be started again.
async fn one_life(world: &mut World, directory: &Path) -> Option<AtEnd> {
    let post = Rc::clone(&world.ground.post);
    let shards = world.plan.shards[world.life_number % world.plan.shards.len()];
    let zone = posthaste_zone();
    let options = stream_options(&world.ground.configured.config, directory, zone, &mut Vec::new());
    let options = options.expect("accounting is configured");
    world.counts.lives += 1;
    world.note(|| format!("the engine starts with {shards} shards"), [13, shards as u64]);
    let started = tokio::select! {
        biased;
        power = crashed(&post) => Err(if power { End::PowerCut } else { End::Killed }),
        life = Life::start(&world.ground, shards, options, &mut world.audit) => match life {
            Ok(life) => Ok(life),
            Err(error) => {
                world.counts.full_starts += u64::from(error.is_transient());
                Err(match post.crashed() {
                    Some(true) => End::PowerCut,
                    Some(false) => End::Killed,
                    None => End::LogFailed,
                })
            }
        },
    };
    let end = match started {
        Err(end) => end,
        Ok(mut life) => {
            world.counts.recovered += life.recovered;
            world.clients_after(&life);
            let patience = world.ground.clock.instant(world.plan.calm + PATIENCE);
            let end = tokio::select! {
                biased;
                end = world.live(&mut life) => end,
                () = tokio::time::sleep_until(patience) => {
                    world.audit.breach("liveness", "it does not come to rest".to_owned());
                    End::Rest
                }
            };
            if end == End::Rest || end == End::Stopped {
                let finished = life.accounting.borrow_mut().finish(world.ground.clock.wall());
                finished.expect("the accounting disk is well");
            }
            if end == End::Rest {
                return Some(at_end(world, &mut life, directory));
            }
            end
        }
    };
    went_down(world, end);
    None
}

async fn crashed(post: &Post) -> bool {
    loop {
        if let Some(power) = post.crashed() {
            return power;
        }
        post.arrived().await;
    }
}

fn went_down(world: &mut World, end: End) {
    world.note(|| format!("the engine went down: {end:?}"), [14, end as u64]);
    let recorded = world.ground.disk.recorded_by();
    let counts = &mut world.counts;
    match end {
        End::Killed => counts.kills += 1,
        End::PowerCut => counts.power_cuts += 1,
        End::LogFailed => counts.failed_logs += 1,
        End::Stopped | End::Rest => counts.restarts += 1,
    }
    if end == End::PowerCut {
        world.ground.disk.power_cut();
    } else {
        world.ground.disk.kill();
    }
    world.stopping = None;
    while let Some(news) = world.ground.post.take() {
        if let post::News::Told { work, answer } = news {
            world.told(work, answer);
        }
    }
    world.audit.now = world.ground.clock.now();
    let window = if end == End::PowerCut { Duration::from_millis(300) } else { Duration::from_millis(250) };
    let recorded = world.ground.clock.at(recorded).saturating_sub(window);
    world.audit.life_ended(recorded, end != End::Stopped);
    world.cut_all();
}

fn posthaste_zone() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::UTC
}

/// What the engine says of itself now that everything is over.
fn at_end(world: &mut World, life: &mut Life, directory: &Path) -> AtEnd {
    let now = life.now(&world.ground.clock);
    let mut end = AtEnd { shared: u32::from(!life.shared.places.is_empty()), ..AtEnd::default() };
    for shard in &mut life.shards {
        if let ShardReply::Status(status) = shard.request(now, ShardRequest::Status) {
            end.waiting += status.waiting;
            end.connections += status.connections;
        }
        if let ShardReply::Queues(queues) = shard.request(now, ShardRequest::Queues) {
            end.connections += queues.iter().map(|queue| queue.connections).sum::<u64>();
        }
    }
    let status = life.storage.status();
    (end.live_rows, end.segments) = (status.live_rows, status.segments_used);
    end.lines = lines(directory);
    end
}

/// The lines of all accounting files: type and recipient.
fn lines(directory: &Path) -> BTreeMap<(char, String), u32> {
    let mut lines = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a readable directory").flatten() {
        if !entry.file_name().to_string_lossy().ends_with(".csv") {
            continue;
        }
        let mut reader = csv::Reader::from_path(entry.path()).expect("a readable file");
        let header = reader.headers().expect("a header").clone();
        let column = |name: &str| header.iter().position(|field| field == name).expect("the column");
        let (kind, address) = (column("type"), column("rcpt"));
        for record in reader.records() {
            let record = record.expect("a whole line");
            let key = (record[kind].chars().next().unwrap_or('?'), record[address].to_owned());
            *lines.entry(key).or_default() += 1;
        }
    }
    lines
}

/// What to print of a failing seed: the broken promises, the last events (from a second run), how to replay it.
pub fn failure(story: &Story, last: usize) -> String {
    use std::fmt::Write as _;
    let seed = story.seed;
    let mut text = String::new();
    for breach in story.breaches.iter().take(8) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "seed {seed}: {} broken at {:?}: {}", breach.promise, breach.at, breach.text);
    }
    let again = run(seed, true);
    if again.hash != story.hash {
        let _ = writeln!(text, "seed {seed}: a second run took another course");
    }
    let until = story.breaches.first().map_or(Duration::ZERO, |breach| breach.at).as_secs_f64();
    let before = again.trace.iter().filter(|line| line[..12].trim().parse().unwrap_or(0.0) <= until + 0.001);
    let before: Vec<&String> = before.collect();
    for line in &before[before.len().saturating_sub(last)..] {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "replay: cargo run -p tests --bin sim -- --trace {seed}");
    text
}

/// Runs seeds on all cores; `failed` is called for each that broke a promise. Returns the sums and how many those were.
pub fn run_all(seeds: &[u64], failed: impl Fn(&Story) + Sync) -> (Totals, u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let sum = Mutex::new((Totals::default(), 0));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let story = run(seed, false);
                    let mut sum = sum.lock().expect("no panic while it is held");
                    sum.0.add(&story.totals);
                    if !story.breaches.is_empty() {
                        sum.1 += 1;
                        failed(&story);
                    }
                }
            });
        }
    });
    sum.into_inner().expect("no panic while it is held")
}
