import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URI;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONObject;

/** Watches a symbol over Socket.IO and prints its prices, one JSON value a line; comes back as the library does. */
public final class Client {
  public static void main(String[] arguments) {
    String url = arguments[0];
    String token = arguments[1];
    String symbol = arguments[2];
    IO.Options options = IO.Options.builder().setAuth(Map.of("token", token)).build();
    Socket socket = IO.socket(URI.create(url + "/market-data"), options);
    socket.on(Socket.EVENT_CONNECT, nothing -> {
      JSONObject wanted = new JSONObject(Map.of("symbols", new JSONArray().put(symbol), "mode", "every"));
      socket.emit("subscribe", wanted);
    });
    socket.on("price", prices -> System.out.println(prices[0]));
    socket.on(Socket.EVENT_CONNECT_ERROR, errors -> System.err.println(errors[0]));
    socket.connect();
  }
}
