import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** A cached pool that is given tasks that never end: RATE a second until a thread is refused. */
final class CachedPool {
    private static final long SETTLE_MILLIS = 3000, LINGER_MILLIS = 5000;

    public static void main(String[] arguments) throws InterruptedException {
        long pauseMillis = 1000 / Long.parseLong(arguments[0]);
        long end = System.currentTimeMillis() + 1000 * Long.parseLong(arguments[1]);
        ExecutorService pool = Executors.newCachedThreadPool();
        CountDownLatch never = new CountDownLatch(1);
        Thread.sleep(SETTLE_MILLIS);
        System.out.printf("onset %.9f%n", System.nanoTime() / 1e9);
        boolean wasRefused = false;
        while (System.currentTimeMillis() < end) {
            try {
                pool.execute(() -> {
                    try {
                        never.await();
                    } catch (InterruptedException gone) {
                        Thread.currentThread().interrupt();
                    }
                });
            } catch (OutOfMemoryError refused) {
                if (!wasRefused) {
                    wasRefused = true;
                    System.out.printf("refused %.9f%n", System.nanoTime() / 1e9);
                    end = Math.min(end, System.currentTimeMillis() + LINGER_MILLIS);
                }
            }
            Thread.sleep(pauseMillis);
        }
        Runtime.getRuntime().halt(0);
    }
}
