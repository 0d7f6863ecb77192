// Nodemailer: a pool of connections, STARTTLS and TLS at once, a message with an attachment.
const nodemailer = require('nodemailer');

const [host, port, tlsPort, user, pass, to] = process.argv.slice(2);

async function send(options) {
  const transport = nodemailer.createTransport({
    host, auth: { user, pass }, pool: true, maxConnections: 3, tls: { rejectUnauthorized: false }, ...options,
  });
  const mails = [...Array(10).keys()].map((n) => transport.sendMail({
    from: 'shop@sender.example', to, subject: `nodemailer ${n}`, text: 'text\n.\nGrüße\n', html: '<p>text</p>',
    attachments: [{ filename: 'a.bin', content: Buffer.alloc(3000, n) }],
  }));
  for (const sent of await Promise.all(mails)) {
    if (sent.rejected.length > 0) throw new Error(sent.response);
  }
  transport.close();
}

send({ port: Number(port), secure: false, requireTLS: true })
  .then(() => send({ port: Number(tlsPort), secure: true }))
  .catch((error) => { console.error(error); process.exit(1); });
