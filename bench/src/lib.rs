//! What stands around the engine when it is shown, tested or measured: the receiving sites, the sender, the
//! people who get the mail, and the stop watch. It knows nothing of the engine and counts only what a
//! stranger on the other end of the wire can count.

pub mod clock;
pub mod cpu;
pub mod draw;
pub mod people;
pub mod site;
pub mod source;
