"""Python's smtplib: every mechanism it knows, STARTTLS and TLS at once, letters beyond ASCII, lines that begin with dots."""
import smtplib
import ssl
import sys
from email.message import EmailMessage

host, port, tls_port, user, password, recipient = sys.argv[1:7]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def message(subject):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@sender.example", recipient, subject
    mail.set_content(".\n..\nGrüße aus Köln\n.end\n")
    return mail


for mechanism in ("cram-md5", "plain", "login"):
    with smtplib.SMTP(host, int(port)) as client:
        client.ehlo()
        client.starttls(context=context)
        client.ehlo()
        client.user, client.password = user, password
        client.auth(mechanism, getattr(client, "auth_" + mechanism.replace("-", "_")))
        assert client.send_message(message("smtplib " + mechanism)) == {}

with smtplib.SMTP_SSL(host, int(tls_port), context=context) as client:
    client.login(user, password)
    for turn in range(3):
        assert client.send_message(message(f"smtplib tls {turn}")) == {}

try:
    with smtplib.SMTP_SSL(host, int(tls_port), context=context) as client:
        client.login(user, password + "x")
    sys.exit("a wrong password was taken")
except smtplib.SMTPAuthenticationError as refused:
    assert refused.smtp_code == 535, refused
