import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Carries out commands from standard input, one a line, with tabs between their words, and answers each with a line:
 *
 *   topic NAME PARTITIONS               creates a topic
 *   grow NAME PARTITIONS                gives a topic more partitions
 *   send TOPIC PARTITION PAYLOAD [NAME=VALUE]…   sends a record with headers; answered before it is stored
 *   flush                               waits until everything that was sent is stored
 *   aborted TOPIC PARTITION PAYLOAD     sends a record in a transaction that is aborted
 *   committed GROUP                     the committed offsets of a group: TOPIC-PARTITION=OFFSET, with spaces between
 */
public class Feed {
    private static final Map<String, Object> SETTINGS = new TreeMap<>();
    private static final List<Future<RecordMetadata>> SENT = new java.util.ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        SETTINGS.put("bootstrap.servers", arguments[0]);
        SETTINGS.put("acks", "all");
        // With several requests on their way, one that is repeated as a topic begins may be refused for good.
        SETTINGS.put("max.in.flight.requests.per.connection", 1);
        StringSerializer text = new StringSerializer();
        try (Admin admin = Admin.create(SETTINGS);
                KafkaProducer<String, String> producer = new KafkaProducer<>(SETTINGS, text, text)) {
            admin.describeCluster().nodes().get();
            System.out.println("ready");
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                System.out.println(carryOut(admin, producer, line.split("\t", -1)));
            }
        }
    }

    private static String carryOut(Admin admin, KafkaProducer<String, String> producer, String[] words) {
        try {
            switch (words[0]) {
                case "topic":
                    admin.createTopics(Set.of(new NewTopic(words[1], Integer.parseInt(words[2]), (short) 1))).all().get();
                    return "ok";
                case "grow":
                    int count = Integer.parseInt(words[2]);
                    admin.createPartitions(Map.of(words[1], NewPartitions.increaseTo(count))).all().get();
                    return "ok";
                case "send":
                    SENT.add(producer.send(record(words)));
                    return "ok";
                case "flush":
                    producer.flush();
                    for (Future<RecordMetadata> sent : SENT) {
                        sent.get();
                    }
                    SENT.clear();
                    return "ok";
                case "aborted":
                    return aborted(words);
                case "committed":
                    StringBuilder offsets = new StringBuilder("ok");
                    admin.listConsumerGroupOffsets(words[1]).partitionsToOffsetAndMetadata().get().forEach(
                        (partition, offset) -> offsets.append(" " + partition + "=" + offset.offset()));
                    return offsets.toString();
                default:
                    return "no such command";
            }
        } catch (Exception error) {
            return "failed: " + error;
        }
    }

    private static String aborted(String[] words) {
        Map<String, Object> settings = new TreeMap<>(SETTINGS);
        settings.put("transactional.id", "feed");
        StringSerializer text = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, text, text)) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record(words));
            producer.flush();
            producer.abortTransaction();
        }
        return "ok";
    }

    private static ProducerRecord<String, String> record(String[] words) {
        ProducerRecord<String, String> record = new ProducerRecord<>(words[1], Integer.parseInt(words[2]), null, words[3]);
        for (int at = 4; at < words.length; at++) {
            String[] header = words[at].split("=", 2);
            record.headers().add(header[0], header[1].getBytes(StandardCharsets.UTF_8));
        }
        return record;
    }
}
