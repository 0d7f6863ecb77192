import jakarta.mail.Message;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeMessage;
import java.util.Properties;

/** Jakarta Mail: STARTTLS and TLS at once, two messages over one connection, with delivery reports asked for. */
public class JakartaMail {
    public static void main(String[] words) throws Exception {
        for (String protocol : new String[] {"smtp", "smtps"}) {
            Properties properties = new Properties();
            properties.put("mail." + protocol + ".ssl.trust", "*");
            properties.put("mail." + protocol + ".ssl.checkserveridentity", "false");
            properties.put("mail." + protocol + ".starttls.required", protocol.equals("smtp") ? "true" : "false");
            properties.put("mail." + protocol + ".starttls.enable", "true");
            properties.put("mail." + protocol + ".auth", "true");
            properties.put("mail." + protocol + ".dsn.notify", "FAILURE,DELAY");
            properties.put("mail." + protocol + ".dsn.ret", "HDRS");
            Session session = Session.getInstance(properties);
            int port = Integer.parseInt(words[protocol.equals("smtps") ? 2 : 1]);
            try (Transport transport = session.getTransport(protocol)) {
                transport.connect(words[0], port, words[3], words[4]);
                for (int number = 1; number <= 2; number++) {
                    MimeMessage message = new MimeMessage(session);
                    message.setFrom(new InternetAddress("shop@sender.example", "Shöp"));
                    message.setRecipients(Message.RecipientType.TO, words[5]);
                    message.setSubject("Jakarta Mail " + number + ": für Sie", "UTF-8");
                    message.setText("Grüße\n.\n..\n", "UTF-8");
                    transport.sendMessage(message, message.getAllRecipients());
                }
            }
        }
    }
}
