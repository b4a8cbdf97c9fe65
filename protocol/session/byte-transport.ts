/**
 * What is under a `StreamLink`: an ordered stream of bytes (a TCP or TLS socket, an HTTP/2 stream,
 * a UDP connection's stream), or an ordered transport of messages (a WebSocket), where one `write`
 * is one message and `bytes` brings one. Implementations hold no rules of the channel.
 */
export interface ByteTransport {
  /** Queues `bytes`, which are never written again; ignored once closed. */
  write(bytes: Uint8Array): void
  /** Bytes not yet handed to the system. */
  readonly bufferedBytes: number
  /** Stops reading, so that the peer's sender has to wait; undone by `resume`. */
  pause(): void
  resume(): void
  /** Orderly: what is queued leaves, then our side is closed; what still comes in is thrown away. */
  end(): void
  /** At once. `closed` follows. */
  destroy(): void
  /** Set once, in the tick that made the transport. */
  listen(listener: ByteTransportListener): void
}

export interface ByteTransportListener {
  bytes(chunk: Uint8Array): void
  /** What was queued has been handed to the system. */
  drain(): void
  /** Last call. `orderly`: the peer closed its side after its last byte. */
  closed(orderly: boolean): void
}
