//! The content of an injection: what was described, compiled once for all its recipients.

use super::inject::{Described, Dialect, InjectError, InjectHead, Mailbox, Object};
use crate::mail::{
    Attached, Content, Fixed, Syntax, Template, TemplateError, TemplateSource, header, header::Header,
};
use std::borrow::Cow;

/// The field that stands for the recipient's address.
pub const EMAIL: &str = "email";
/// Who the mail of a built message is to, unless its headers say otherwise.
const TO: &str = "{{ name }} <{{ email }}>";

impl InjectHead {
    /// The header fields that were given, as far as they may speak to the engine: a header block.
    pub fn given_fields(&self) -> Cow<'_, [u8]> {
        match &self.described {
            None => Cow::Borrowed(b""),
            Some(Described::Raw(raw)) => Cow::Borrowed(raw.as_bytes()),
            Some(Described::Object(object)) => {
                let line = |(name, value): (&String, &String)| format!("{name}: {value}\r\n");
                let ours = |(name, value): &(&String, &String)| {
                    header::is_name(name.as_bytes()) && header::forbidden(value).is_none()
                };
                let block: String = object.headers.iter().filter(ours).map(line).collect();
                Cow::Owned(block.into_bytes())
            }
        }
    }

    /// The fields that pattern lists see: those given, and those the request describes otherwise.
    pub fn shown_fields(&self) -> Vec<u8> {
        let mut fields = self.given_fields().into_owned();
        let Some(Described::Object(object)) = &self.described else { return fields };
        let mailbox = |mailbox: &Mailbox| match &mailbox.name {
            Some(name) => format!("{name} <{}>", mailbox.email),
            None => mailbox.email.clone(),
        };
        let described = [
            ("Subject", object.subject.clone()),
            ("From", object.from.as_ref().map(mailbox)),
            ("Reply-To", object.reply_to.as_ref().map(mailbox)),
        ];
        for (name, value) in described {
            if let Some(value) = value.filter(|value| header::forbidden(value).is_none()) {
                fields.splice(0..0, format!("{name}: {value}\r\n").into_bytes());
            }
        }
        fields
    }

    /// The finished message, where nothing is to be expanded or added.
    pub fn finished(&self) -> Option<&str> {
        match (&self.described, self.dialect) {
            (Some(Described::Raw(raw)), Dialect::Static) => Some(raw),
            _ => None,
        }
    }

    /// Compiles what was described, without the header fields in `remove`.
    ///
    /// # Errors
    /// When it is missing, or with the first thing that is wrong with it.
    pub fn compile(&self, fixed: &Fixed, remove: &[&str]) -> Result<Content, InjectError> {
        let mut content = match &self.described {
            None => return Err(InjectError::new("content", "it is missing")),
            Some(Described::Raw(raw)) => {
                let mut kept = Vec::with_capacity(raw.len());
                Header::scan(raw.as_bytes()).copy_without(remove, &mut kept);
                compiled(TemplateSource::Eml(&kept), &[], fixed)?
            }
            Some(Described::Object(object)) => built(object, self.dialect, fixed, remove)?,
        };
        content.take_recipient_for(EMAIL);
        Ok(content)
    }
}

fn compiled(
    source: TemplateSource<'_>,
    headers: &[(String, String)],
    fixed: &Fixed,
) -> Result<Content, InjectError> {
    let template = Template { source, headers, syntax: Syntax::Minijinja, fields: &[] };
    Content::compile_open(&template, fixed).map_err(|errors: Vec<TemplateError>| {
        let told: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
        InjectError::new("content", told.join("; "))
    })
}

fn built(object: &Object, dialect: Dialect, fixed: &Fixed, remove: &[&str]) -> Result<Content, InjectError> {
    let literal = |field: &str, text: &str| match dialect {
        Dialect::Jinja => Ok(text.to_owned()),
        Dialect::Static => as_it_is(text).ok_or_else(|| {
            InjectError::new(
                field,
                "it holds a template tag with the word `endraw`, which cannot be sent as it is",
            )
        }),
    };
    let mut headers = Vec::with_capacity(object.headers.len() + 4);
    let removed = |name: &str| remove.iter().any(|other| other.eq_ignore_ascii_case(name));
    for (name, value) in object.headers.iter().filter(|(name, _)| !removed(name)) {
        headers.push((name.clone(), literal(&format!("content.headers.{name}"), value)?));
    }
    let from = object.from.as_ref().map(Mailbox::written);
    let reply_to = object.reply_to.as_ref().map(Mailbox::written);
    for (name, field, value) in [
        ("From", "from", from),
        ("Reply-To", "reply_to", reply_to),
        ("Subject", "subject", object.subject.clone()),
    ] {
        let Some(value) = value else { continue };
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        headers.push((name.to_owned(), literal(&format!("content.{field}"), &value)?));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("To")) {
        headers.push(("To".to_owned(), TO.to_owned()));
    }
    for (name, value) in &headers {
        let field = || format!("content.headers.{name}");
        if !header::is_name(name.as_bytes()) {
            return Err(InjectError::new(field(), "this is not the name of a header"));
        }
        if let Some(what) = header::forbidden(value) {
            return Err(InjectError::new(field(), format!("it holds {what}; a header is one line")));
        }
    }
    let body = |field: &str, body: &Option<String>| {
        body.as_deref().map(|text| literal(&format!("content.{field}"), text)).transpose()
    };
    let (text, html) = (body("text_body", &object.text_body)?, body("html_body", &object.html_body)?);
    let files = files(object)?;
    let attached: Vec<Attached<'_>> = object
        .attachments
        .iter()
        .zip(&files)
        .map(|(attachment, bytes)| Attached {
            content_type: &attachment.content_type,
            file_name: attachment.file_name.as_deref(),
            content_id: attachment.content_id.as_deref(),
            bytes,
        })
        .collect();
    let source = TemplateSource::Parts { html: html.as_deref(), text: text.as_deref(), attached: &attached };
    compiled(source, &headers, fixed)
}

/// What is attached, decoded.
fn files(object: &Object) -> Result<Vec<Cow<'_, [u8]>>, InjectError> {
    let decode = |(index, attachment): (usize, &'_ super::inject::Attachment)| match attachment.base64 {
        false => Ok(Cow::Owned(attachment.data.clone().into_bytes())),
        true => data_encoding::BASE64.decode(attachment.data.as_bytes()).map(Cow::Owned).map_err(|e| {
            InjectError::new(format!("content.attachments[{index}].data"), format!("this is not base64: {e}"))
        }),
    };
    object.attachments.iter().enumerate().map(decode).collect()
}

impl Mailbox {
    fn written(&self) -> String {
        match self.name.as_deref() {
            None | Some("") => self.email.clone(),
            Some(name) => {
                format!("\"{}\" <{}>", name.replace('\\', "\\\\").replace('"', "\\\""), self.email)
            }
        }
    }
}

/// `text` as a template that gives just this text. `None` where there is no such template.
fn as_it_is(text: &str) -> Option<String> {
    let tagged = ["{{", "{%", "{#"].iter().any(|open| text.contains(open));
    match tagged {
        false => Some(text.to_owned()),
        true if text.contains("endraw") => None,
        true => Some(format!("{{% raw %}}{text}{{% endraw %}}")),
    }
}
