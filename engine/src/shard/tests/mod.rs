//! Stories about a shard, told with a virtual clock, a receiver in RAM and a log in RAM: what goes over the wire and
//! what is recorded, never what the shard looks like inside.

mod adaptive;
mod ahead;
mod backoff;
mod delivery;
mod envelope;
mod giving_up;
mod hosts;
mod limits;
mod operator;
mod priority;
mod random;
mod refusals;
mod reports;
mod shared;
mod site;
mod sources;
mod spool;
mod steered;
mod storage;
mod waiting;
mod world;
