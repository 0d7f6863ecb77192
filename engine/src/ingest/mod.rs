//! Intake: what a front door hands over becomes groups of records. Campaigns, pickup files and finished messages
//! are read from bytes here; opening, renaming and watching files is the shell's.

pub mod batch;
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
pub mod plan;
pub mod progress;
pub mod report;
pub mod table;

pub use batch::{Batch, RawRow};
pub use campaign::{Campaign, RecipientsFile, TemplateFiles};
pub use campaign_reader::{CampaignError, CampaignProblem};
pub use chunk::{Chunk, Chunks};
pub use compressed::{ArchiveError, Compression, check_archive, open_compressed};
pub use domains::Domains;
pub use fault::Fault;
pub use identity::FileIdentity;
pub use import::{Duplicates, Import, ImportError, Rejected, Settings, Taken};
pub use plan::{Plan, PlanError, UsedField};
pub use progress::{Counts, Progress};
pub use report::{RejectedRows, Report};
pub use table::{Format, Table, TableError};
