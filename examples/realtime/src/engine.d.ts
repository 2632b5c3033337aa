/** The data that the page of the engine and the server exchange; global for the reason given in app.d.ts. */

declare namespace App {
  /** A client's count of a feed of which it must get everything. */
  interface EngineReader {
    received: number;
    missed: number;
  }

  /** The switches. Times are of the server's clock. */
  interface EngineState {
    /** Why the page cannot work here, if so. */
    missing?: string;
    /** Why the switches cannot be used, if so. */
    refused?: string;
    /** The last block of JavaScript. */
    block?: { from: number; ms: number };
    slow: {
      on: boolean;
      /** Messages published, and those that were dropped for the slow client. */
      published: number;
      dropped: number;
      readers: EngineReader[];
      /** The median of the readers since the last report, in milliseconds. */
      latency: number | null;
    };
    load: {
      on: boolean;
      clients: number;
      /** Messages that the clients have sent and received. */
      sent: number;
      received: number;
      latency: number | null;
    };
  }

  interface EngineReport {
    sentAt: number;
    state: EngineState;
    /** When a ping was sent, and how long its pong took, both in milliseconds. */
    pings: [number, number][];
  }
}
