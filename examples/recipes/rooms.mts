import uWS, { type WebSocket } from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const MOST_ROOMS = 20; // of one client
type Member = { name: string; rooms: Set<string> };

/** The names in each room, and the number of connections of each: somebody may have several tabs open. */
const rooms = new Map<string, Map<string, number>>();
const app = uWS.App();

function parse(message: ArrayBuffer): { type: string; room: string; text: string } | undefined {
  try {
    const { type, room, text } = JSON.parse(Buffer.from(message).toString());
    const isRoom = typeof room === 'string' && /^[\w-]{1,64}$/.test(room);
    return isRoom ? { type, room, text: String(text) } : undefined;
  } catch {
    return undefined;
  }
}

function publish(room: string, message: object): void {
  app.publish(`room/${room}`, JSON.stringify({ room, ...message }));
}

function join(ws: WebSocket<Member>, room: string): void {
  const member = ws.getUserData();
  if (member.rooms.has(room) || member.rooms.size >= MOST_ROOMS) return;
  member.rooms.add(room);
  const there = rooms.get(room) ?? new Map<string, number>();
  rooms.set(room, there.set(member.name, (there.get(member.name) ?? 0) + 1));
  if (there.get(member.name) === 1) publish(room, { joined: member.name }); // to those who are there
  ws.send(JSON.stringify({ room, here: [...there.keys()] })); // to the one who comes
  ws.subscribe(`room/${room}`);
}

function leave({ name, rooms: its }: Member, room: string): void {
  const there = rooms.get(room);
  if (!there || !its.delete(room)) return;
  const connections = (there.get(name) ?? 1) - 1;
  if (connections > 0) return void there.set(name, connections);
  there.delete(name);
  if (there.size === 0) rooms.delete(room);
  publish(room, { left: name });
}

app.ws<Member>('/rooms', {
  maxPayloadLength: 4096, // bytes of a message; more closes the connection with 1009
  upgrade: (res, req, context) => {
    const name = req.getQuery('name') ?? ''; // "Upgrade with auth" has names that can be believed
    if (!/^[\p{L}\p{N} ]{1,32}$/u.test(name)) return void res.writeStatus('400 Bad Request').end();
    res.upgrade<Member>({ name, rooms: new Set() }, req.getHeader('sec-websocket-key'), '', '', context);
  },
  message: (ws, message) => {
    const [member, said] = [ws.getUserData(), parse(message)];
    if (said?.type === 'join') return join(ws, said.room);
    if (!said || !/^(leave|say)$/.test(said.type)) return ws.end(1008, 'Send a type and a room');
    if (!member.rooms.has(said.room)) return;
    if (said.type === 'say') return publish(said.room, { from: member.name, text: said.text });
    ws.unsubscribe(`room/${said.room}`);
    leave(member, said.room);
  },
  close: (ws) => [...ws.getUserData().rooms].forEach((room) => leave(ws.getUserData(), room)),
});
app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
