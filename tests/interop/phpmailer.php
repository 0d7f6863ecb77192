<?php
// PHPMailer: STARTTLS and TLS at once, each with three mechanisms, and several messages over one connection.
use PHPMailer\PHPMailer\PHPMailer;

require '/usr/share/php/libphp-phpmailer/autoload.php';

[, $host, $port, $tls_port, $user, $password, $recipient] = $argv;
foreach ([PHPMailer::ENCRYPTION_STARTTLS, PHPMailer::ENCRYPTION_SMTPS] as $encryption) {
    foreach (['PLAIN', 'LOGIN', 'CRAM-MD5'] as $mechanism) {
        $mail = new PHPMailer(true);
        $mail->isSMTP();
        $mail->Host = $host;
        $mail->Port = (int) ($encryption === PHPMailer::ENCRYPTION_SMTPS ? $tls_port : $port);
        $mail->SMTPSecure = $encryption;
        $mail->SMTPOptions = ['ssl' => ['verify_peer' => false, 'verify_peer_name' => false, 'allow_self_signed' => true]];
        $mail->SMTPAuth = true;
        $mail->AuthType = $mechanism;
        $mail->Username = $user;
        $mail->Password = $password;
        $mail->SMTPKeepAlive = true;
        $mail->CharSet = PHPMailer::CHARSET_UTF8;
        $mail->setFrom('shop@sender.example', 'Shöp');
        $mail->addAddress($recipient, 'Réader');
        foreach ([1, 2] as $number) {
            $mail->Subject = "PHPMailer $number: für Sie";
            $mail->msgHTML("<p>Grüße $number</p>\n.\n");
            $mail->addStringAttachment(random_bytes(5000), 'data.bin');
            $mail->send();
            $mail->clearAttachments();
        }
        $mail->smtpClose();
    }
}
