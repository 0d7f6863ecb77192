//! A campaign as a marketer drops it in, and what each of its recipients must then find in the message.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::people::{People, Person};

use crate::ground::Ground;

/// A campaign over made-up people.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub name: String,
    pub people: People,
    pub rows: u64,
    /// VMTA or pool; the default if empty.
    pub virtual_mta: String,
    /// Bytes of the body, about.
    pub size: usize,
}

impl Campaign {
    pub fn new(name: &str, people: People, rows: u64) -> Campaign {
        Campaign { name: name.into(), people, rows, virtual_mta: String::new(), size: 600 }
    }

    /// Writes the directory beside the pickup directory and renames it in.
    pub fn drop_into(&self, ground: &Ground) -> io::Result<()> {
        self.hand_in(ground, &self.stage(ground)?)
    }

    /// Renames what was staged into the pickup directory.
    pub fn hand_in(&self, ground: &Ground, staged: &Path) -> io::Result<()> {
        fs::rename(staged, ground.path("pickup").join(format!("{}.campaign", self.name)))
    }

    /// Writes the directory beside the pickup directory.
    pub fn stage(&self, ground: &Ground) -> io::Result<PathBuf> {
        let dir = ground.path("staging").join(format!("{}.campaign", self.name));
        fs::create_dir(&dir)?;
        let mut rows = Vec::new();
        self.people.write_csv(&mut rows, self.rows)?;
        let files = [
            ("campaign.toml", self.description().into_bytes()),
            ("message.txt", self.template().into_bytes()),
            ("recipients.csv", rows),
        ];
        for (name, content) in files {
            let mut file = File::create(dir.join(name))?;
            file.write_all(&content)?;
            file.sync_all()?;
        }
        File::open(&dir)?.sync_all()?;
        Ok(dir)
    }

    fn description(&self) -> String {
        let vmta = match self.virtual_mta.as_str() {
            "" => String::new(),
            name => format!("virtual-mta = \"{name}\"\n"),
        };
        format!(
            "job = \"{}\"\nenvelope-sender = \"bounce@news.example\"\n{vmta}text = \"message.txt\"\n\
             recipients = \"recipients.csv\"\nemail-column = \"email\"\n\n[headers]\n\
             From = \"News <news@news.example>\"\nTo = \"{{{{ email }}}}\"\nSubject = \"Hello {{{{ first_name }}}}\"\n\
             X-Ledger-Id = \"{}\"\n",
            self.name, self.name
        )
    }

    /// ASCII, so that no transfer encoding changes it; the values of a row make up three of its lines.
    fn template(&self) -> String {
        let mut text =
            String::from("Your code is {{ code }}.\nYou have {{ points }} points.\n.a line with a dot\n");
        while text.len() < self.size {
            text.push_str("There is much to see this week, and all of it for less.\n");
        }
        text.push_str("Sent to {{ email }}.\n");
        text
    }

    /// The body that this person must receive, with CRLF line ends.
    pub fn body_for(&self, person: &Person) -> String {
        self.template()
            .replace("{{ code }}", &String::from_utf8_lossy(&person.code))
            .replace("{{ points }}", &person.points.to_string())
            .replace("{{ email }}", &person.address())
            .replace('\n', "\r\n")
    }
}

/// Nothing of a staged campaign is to be sent before `at`.
pub fn set_start(staged: &Path, at: SystemTime) -> io::Result<()> {
    let at = jiff::Timestamp::try_from(at).map_err(io::Error::other)?;
    let path = staged.join("campaign.toml");
    let description = fs::read_to_string(&path)?;
    fs::write(path, format!("start-at = {at:.0}\n{description}"))
}
