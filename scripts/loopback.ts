/**
 * Preloaded (`node --import`) into a server that has no setting for its address: a port that it opens is opened on
 * 127.0.0.1, so that nobody else on the network can reach it.
 */
import { Server } from "node:net";

const listen = Server.prototype.listen;

Server.prototype.listen = function (this: Server, ...args: unknown[]) {
  const [port, ...rest] = args;
  const isPort = typeof port === "number" || (typeof port === "string" && /^\d+$/.test(port));
  const callback = rest.find((argument) => typeof argument === "function");
  return Reflect.apply(listen, this, isPort ? [{ port: Number(port), host: "127.0.0.1" }, callback] : args);
};
