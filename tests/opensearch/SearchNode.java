import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.codelibs.opensearch.runner.node.OpenSearchRunnerNode;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Setting;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.painless.PainlessPlugin;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/** A node of OpenSearch on loopback, until its standard input ends: java -cp 'lib/*' SearchNode.java HOME PORT. */
public class SearchNode {
    /** argilla-server turns the k-NN plugin off in each index, which only a node that knows the setting takes. */
    public static class KnnSetting extends Plugin {
        @Override
        public List<Setting<?>> getSettings() {
            return List.of(Setting.boolSetting("index.knn", false, Setting.Property.IndexScope));
        }
    }

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]);
        Path config = Files.createDirectories(home.resolve("config"));
        Settings settings = Settings.builder()
            .put("path.home", home)
            .put("http.port", args[1])
            .put("transport.port", "0")
            .put("network.host", "127.0.0.1")
            .put("discovery.type", "single-node")
            .put("node.name", "node")
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
        new OpenSearchRunnerNode(
            new Environment(settings, config),
            List.of(Netty4Plugin.class, CommonAnalysisPlugin.class, PainlessPlugin.class, KnnSetting.class)
        ).start();
        while (System.in.read() >= 0) {}
        Runtime.getRuntime().halt(0);
    }
}
