import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;

/** An HTTP server that starts, and asks itself for SECONDS, 20 requests at a time. */
final class Server {
    private static final int AT_ONCE = 20;

    public static void main(String[] arguments) throws Exception {
        InetSocketAddress any = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
        HttpServer server = HttpServer.create(any, 0);
        server.createContext("/", exchange -> {
            byte[] body = "well\n".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(AT_ONCE));
        server.start();
        URI address = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/");
        HttpClient client = HttpClient.newHttpClient();
        long end = System.currentTimeMillis() + 1000 * Long.parseLong(arguments[0]);
        while (System.currentTimeMillis() < end) {
            CompletableFuture<?>[] answers = new CompletableFuture<?>[AT_ONCE];
            for (int number = 0; number < AT_ONCE; number++) {
                HttpRequest request = HttpRequest.newBuilder(address).build();
                answers[number] = client.sendAsync(request, BodyHandlers.ofString());
            }
            CompletableFuture.allOf(answers).join();
            Thread.sleep(50);
        }
        System.exit(0);
    }
}
