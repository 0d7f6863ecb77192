//! Intake: what a front door hands over becomes groups of records. Campaigns, pickup files and finished messages
//! are read from bytes here; opening, renaming and watching files is the shell's.

pub mod batch;
mod bsmtp;
pub mod campaign;
mod campaign_reader;
pub mod chunk;
pub mod compressed;
pub mod csv_rows;
pub mod dedup;
pub mod domains;
pub mod fault;
pub mod identity;
pub mod import;
pub mod jsonl_rows;
pub mod pickup;
mod pickup_plain;
mod pickup_text;
pub mod plan;
pub mod prepare;
pub mod progress;
pub mod report;
mod structure;
pub mod submission;
pub mod table;
pub mod transmission;

pub use batch::{Batch, RawRow};
pub use campaign::{Campaign, RecipientsFile, TemplateFiles};
pub use campaign_reader::{CampaignError, CampaignProblem};
pub use chunk::{Chunk, Chunks};
pub use compressed::{Compression, open_compressed};
pub use domains::Domains;
pub use fault::Fault;
pub use identity::FileIdentity;
pub use import::{Duplicates, Import, ImportError, Rejected, Settings, Taken};
pub use pickup::{PickupError, PickupMessage, PickupOptions, PickupProblem, RefusedRecipient};
pub use plan::{Plan, PlanError, UsedField};
pub use prepare::{PrepareError, Prepared, TemplateBytes, prepare};
pub use progress::{Counts, Progress};
pub use report::{RejectedRows, Report};
pub use structure::check_structure;
pub use submission::{Rotation, Route, Submitted};
pub use table::{Format, Table, TableError};
