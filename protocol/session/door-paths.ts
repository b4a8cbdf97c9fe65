/** Where a node's HTTP doors are: the same names for WebSocket and HTTP/2, for door and dialer. */
export const deviceDoorPath = '/openim/1'
export const healthPath = '/healthz'
/** WebSocket subprotocol (RFC 6455 §1.9). */
export const webSocketProtocol = 'openim.1'
/** Media type of the two bodies of an HTTP/2 stream: Noise messages with their lengths. */
export const streamMediaType = 'application/openim'
